"""Backends by name and devices by address: ours, and those that other packages announce.

They do so as entry points of ``deployprune.backends`` (a name and its :class:`~deployprune.backends.base.Backend`) and
``deployprune.devices`` (an address's scheme and its :class:`~deployprune.backends.devices.base.Device`).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from deployprune.backends.base import Backend
from deployprune.errors import BackendUnavailableError, UsageError
from deployprune.records import Availability, Target

if TYPE_CHECKING:
    from deployprune.backends.devices.base import Device

__all__ = ["available_backends", "backend_of", "device_of", "fresh_backend", "get_backend", "require_backend"]

_GROUP = "deployprune.backends"
_DEVICES = "deployprune.devices"

_OURS = (
    EntryPoint("onnxruntime", "deployprune.backends.onnxruntime:OnnxRuntimeBackend", _GROUP),
    EntryPoint("openvino", "deployprune.backends.openvino:OpenVinoBackend", _GROUP),
    EntryPoint("litert", "deployprune.backends.litert:LiteRtBackend", _GROUP),
    EntryPoint("executorch", "deployprune.backends.executorch:ExecuTorchBackend", _GROUP),
    EntryPoint("ncnn", "deployprune.backends.ncnn:NcnnBackend", _GROUP),
    EntryPoint("mnn", "deployprune.backends.mnn:MnnBackend", _GROUP),
    EntryPoint("fake", "deployprune.backends.fake:FakeBackend", _GROUP),
)


_OUR_DEVICES = (
    EntryPoint("local", "deployprune.backends.devices.local:LocalDevice", _DEVICES),
    EntryPoint("ssh", "deployprune.backends.devices.remote:RemoteDevice", _DEVICES),
    EntryPoint("adb", "deployprune.backends.devices.adb:AdbDevice", _DEVICES),
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


@cache
def device_of(url: str) -> Device:
    """The device at ``url``, one for the whole process: it keeps its connection. Nothing is connected yet.

    Raises UsageError for what is no address.
    """
    schemes = {entry.name: entry for entry in (*entry_points(group=_DEVICES), *_OUR_DEVICES)}
    scheme = url.partition("://")[0]
    if scheme not in schemes:
        raise UsageError(f"{url!r} is not the address of a device", hint=f"known devices: {', '.join(schemes)}")
    return cast("Device", schemes[scheme].load()(url))


def backend_of(target: Target) -> Backend:
    """The backend of ``target`` on its device, ready for use.

    Raises BackendUnavailableError with the command that installs it there, and DeviceError for a device out of reach.
    """
    return device_of(target.device).backend(target.backend)


def fresh_backend(target: Target) -> AbstractContextManager[Backend]:
    """The backend of ``target`` for a sitting: in a process that has timed nothing before. Raises what
    :func:`backend_of` raises."""
    return device_of(target.device).fresh_backend(target.backend)


def available_backends() -> tuple[Availability, ...]:
    """Every known backend, by name, with its version or the command that installs it."""
    return tuple(get_backend(name).availability() for name in sorted(_known()))
