"""Work on many targets: devices side by side, and on each device one thing after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Any, TypeVar

from deployprune.errors import DeployPruneError
from deployprune.progress import Part, Task
from deployprune.records import Target
from deployprune.records.naming import label_targets
from deployprune.units import format_share

__all__ = ["Job", "by_device", "on_devices"]

T = TypeVar("T")
_WAKE_S = 0.3
Job = Callable[[Target, Task], T]
"""Does something on a target, and tells how far it is."""


def by_device(targets: Sequence[Target]) -> dict[str, list[Target]]:
    """The targets of every device, in their order."""
    devices: dict[str, list[Target]] = {}
    for target in targets:
        devices.setdefault(target.device, []).append(target)
    return devices


def on_devices(targets: Sequence[Target], job: Job[T], task: Task) -> dict[Target, T]:
    """What ``job`` gives on every target: a thread a device, and never two jobs on one device.

    The first error of any device is raised, with the device named where there are several. The others' jobs then end
    as soon as they tell how far they are.
    """
    devices = by_device(targets)
    if len(devices) == 1:
        return _in_turn(targets, job, task)
    board = _Board(devices, task)
    with ThreadPoolExecutor(len(devices), thread_name_prefix="device") as pool:
        try:
            futures = {
                pool.submit(_in_turn, members, job, _DeviceTask(board, device)): device
                for device, members in devices.items()
            }
            _wait(futures)
        finally:
            board.stop.set()  # for nobody, where all have ended; the pool waits for those that have not
    _raise_first(futures)
    found = {target: result for future in futures for target, result in future.result().items()}
    return {target: found[target] for target in targets}


def _in_turn(targets: Sequence[Target], job: Job[T], task: Task) -> dict[Target, T]:
    results = {}
    for index, (target, label) in enumerate(label_targets(targets).items()):
        part = Part(task, index / len(targets), (index + 1) / len(targets), label)
        part.update(0.0)
        results[target] = job(target, part)
    return results


class _Stopped(Exception):  # noqa: N818 - nothing went wrong here, but on another device
    """Raised in a job where another device's failed, or the user interrupted."""


class _Board:
    """How far every device is, told as one task."""

    def __init__(self, devices: Mapping[str, Sequence[Target]], task: Task) -> None:
        self.stop = Event()
        self._task = task
        self._lock = Lock()
        self._done = dict.fromkeys(devices, 0.0)

    def tell(self, device: str, fraction: float) -> None:
        """Take note of a device's progress and show that of all."""
        if self.stop.is_set():
            raise _Stopped
        with self._lock:
            self._done[device] = fraction
            note = ", ".join(f"{name} {format_share(done, 0)}" for name, done in self._done.items())
            self._task.update(sum(self._done.values()) / len(self._done), note=note)


class _DeviceTask:
    """The part of the task that one device's thread works at."""

    def __init__(self, board: _Board, device: str) -> None:
        self._board = board
        self._device = device

    def update(self, fraction: float, note: str = "") -> None:
        """Tell how far this device is."""
        self._board.tell(self._device, fraction)

    def finish(self, summary: str) -> None:
        """Tell nothing: the whole task has its own words."""


def _wait(futures: Iterable[Future[Any]]) -> None:
    """Wait until all have ended or one has failed, waking up now and then, so that an interrupt is seen."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_WAKE_S, return_when=FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            return


def _raise_first(futures: Mapping[Future[dict[Target, T]], str]) -> None:
    errors = {device: error for future, device in futures.items() if (error := future.exception()) is not None}
    for device, error in errors.items():
        if isinstance(error, _Stopped):
            continue
        if not isinstance(error, DeployPruneError):
            error.add_note(f"on the device {device}")
        elif device not in error.message:
            raise type(error)(f"on {device}: {error.message}", hint=error.hint) from error
        raise error
