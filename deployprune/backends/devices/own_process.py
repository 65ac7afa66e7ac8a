"""A backend in a process of its own on this machine, as what ships runs, and not in one that has done much before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from deployprune.backends.base import Backend
from deployprune.backends.devices.link import Link, LinkLost, start_link
from deployprune.backends.devices.remote_session import RemoteBackend
from deployprune.backends.devices.wire import FrameError
from deployprune.errors import ExportError
from deployprune.processes import module_command, module_environment
from deployprune.records import Target

__all__ = ["own_process"]

T = TypeVar("T")
_PROGRAM = "deployprune.backends.devices.worker"


@contextmanager
def own_process(backend: Backend) -> Iterator[Backend]:
    """``backend`` with its sessions in a process that starts now and ends with the context.

    What it raises there is raised here; where the process itself ends, that is an ExportError with its last words.
    """
    process = _OwnProcess()
    try:
        yield RemoteBackend(
            process,
            name=backend.name,
            format=backend.format,
            precisions=backend.precisions,
            availability=backend.availability(),
        )
    finally:
        process.close()


@dataclass(frozen=True, slots=True)
class _ModelInPlace:
    """A model's file as it lies here."""

    path: Path

    def arguments(self, link: Link, target: Target) -> dict[str, Any]:
        """How a call names the model."""
        place = self.path.resolve()
        return {"digest": str(place.parent), "name": place.name, "target": asdict(target)}


class _OwnProcess:
    """The way to the process: as to a device, but what is lost there is not started again."""

    def __init__(self) -> None:
        self._link = start_link(module_command(_PROGRAM), module_environment())

    def model(self, path: Path) -> _ModelInPlace:
        """The file itself."""
        return _ModelInPlace(path)

    def attempt(self, work: Callable[[Link], T]) -> T:
        """``work``, once. Raises ExportError where the process ends over it."""
        try:
            return work(self._link)
        except (LinkLost, FrameError) as lost:
            raise ExportError(
                f"the process in which files are timed has ended: {lost}", hint="open the exported file alone"
            ) from lost

    def close_session(self, link: Link, number: int) -> None:
        """Close a session where the process still runs."""
        try:
            link.call("close", {"session": number})
        except LinkLost:
            return

    def close(self) -> None:
        """End the process."""
        self._link.close()
