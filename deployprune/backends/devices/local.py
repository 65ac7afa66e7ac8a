"""This machine as a device."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from deployprune.backends.base import Backend
from deployprune.backends.devices.address import LOCAL
from deployprune.backends.devices.here import survey_here
from deployprune.backends.devices.own_process import own_process
from deployprune.backends.memory import peak_memory_bytes
from deployprune.backends.registry import require_backend
from deployprune.errors import UsageError
from deployprune.host import describe_host, read_temperature
from deployprune.records import DeviceSurvey, Host, Target

__all__ = ["LocalDevice"]


class LocalDevice:
    """Backends of this process."""

    def __init__(self, url: str = LOCAL) -> None:
        if url != LOCAL:
            raise UsageError(f"{url!r} is not the address of a device", hint=f"this machine is {LOCAL}")

    def backend(self, name: str) -> Backend:
        """The backend ``name``. Raises BackendUnavailableError."""
        return require_backend(name)

    def fresh_backend(self, name: str) -> AbstractContextManager[Backend]:
        """The backend ``name`` in a process of its own. Raises BackendUnavailableError."""
        return own_process(require_backend(name))

    def host(self) -> Host:
        """This machine."""
        return describe_host()

    def peak_memory_bytes(self, path: Path, target: Target) -> int:
        """As measured in a process of its own. Raises ExportError for a file that does not run."""
        return peak_memory_bytes(path, target)

    def temperature(self) -> float | None:
        """As Linux tells it."""
        return read_temperature()

    def survey(self) -> DeviceSurvey:
        """This machine and its backends."""
        return survey_here()
