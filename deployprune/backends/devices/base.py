"""The seam between deployprune and a device: where backends run, and what is known of the place."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from deployprune.backends.base import Backend
from deployprune.records import DeviceSurvey, Host, Target

__all__ = ["Device"]


class Device(Protocol):
    """A place where files are opened and timed. All its methods raise DeviceError when it cannot be reached."""

    def backend(self, name: str) -> Backend:
        """The backend ``name`` on this device, ready for use.

        Raises BackendUnavailableError with the command that installs it there.
        """
        ...

    def fresh_backend(self, name: str) -> AbstractContextManager[Backend]:
        """The same, for a sitting: its sessions are in a process that has timed nothing before.

        A process that has worked for long has memory in other places than a new one, in which a model ships.
        """
        ...

    def host(self) -> Host:
        """The device's processor, system and versions."""
        ...

    def peak_memory_bytes(self, path: Path, target: Target) -> int | None:
        """Bytes that opening and running ``path`` adds to a process at its highest; None where that cannot be known."""
        ...

    def temperature(self) -> float | None:
        """Degrees Celsius of the hottest sensor, now; None where none can be read."""
        ...

    def survey(self) -> DeviceSurvey:
        """What the device has to offer, and what it lacks."""
        ...
