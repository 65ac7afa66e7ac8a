"""Backends by name: those that come along, and those that other packages announce as ``deployprune.backends``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from deployprune.backends.base import Backend
from deployprune.errors import BackendUnavailableError
from deployprune.records import Availability, Target

__all__ = ["available_backends", "backend_of", "get_backend", "require_backend"]

_GROUP = "deployprune.backends"


_OURS = (
    EntryPoint("onnxruntime", "deployprune.backends.onnxruntime:OnnxRuntimeBackend", _GROUP),
    EntryPoint("openvino", "deployprune.backends.openvino:OpenVinoBackend", _GROUP),
    EntryPoint("fake", "deployprune.backends.fake:FakeBackend", _GROUP),
)


def _known() -> dict[str, EntryPoint]:
    """Every known backend's class by name. Ours cannot be replaced by another package's."""
    return {entry.name: entry for entry in (*entry_points(group=_GROUP), *_OURS)}


def get_backend(name: str) -> Backend:
    """The backend called ``name``, installed or not. Raises BackendUnavailableError, naming the known ones."""
    known = _known()
    if name not in known:
        raise BackendUnavailableError(
            f"there is no backend called {name!r}", hint=f"known backends: {', '.join(sorted(known))}"
        )
    return cast("Backend", known[name].load()())


def require_backend(name: str) -> Backend:
    """The backend called ``name``, ready for use. Raises BackendUnavailableError with the command that installs it."""
    backend = get_backend(name)
    availability = backend.availability()
    if not availability.available:
        raise BackendUnavailableError(f"the backend {name} is not installed here", hint=availability.hint)
    return backend


def backend_of(target: Target) -> Backend:
    """The backend of ``target`` on its device, ready for use.

    Raises BackendUnavailableError with the command that installs it, or for a device that is not known.
    """
    if target.device != "local":
        raise BackendUnavailableError(f"there is no device called {target.device!r}", hint="known devices: local")
    return require_backend(target.backend)


def available_backends() -> tuple[Availability, ...]:
    """Every known backend, by name, with its version or the command that installs it."""
    return tuple(get_backend(name).availability() for name in sorted(_known()))
