"""A lock that says which process works in a directory, and that a dead process does not keep.

Every process puts a file of its own into the directory, named after itself, and then looks for others: two that come
at the same moment both see each other and both step back, so there is never a moment with two holders. A file whose
process has ended (same machine, no such process or one that started at another time) is removed by whoever sees it.
"""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from deployprune.errors import RunDirectoryError

__all__ = ["Lock", "is_locked"]

_PREFIX = ".lock-"
_NAME = re.compile(re.escape(_PREFIX) + r"(?P<host>.+)-(?P<pid>\d+)-(?P<started>\d+)")
_CLOCK_TOLERANCE_S = 2


def is_locked(directory: Path) -> bool:
    """Whether a process has ``directory``, or ended without giving it back."""
    return any(directory.glob(f"{_PREFIX}*"))


class Lock:
    """The right to write in ``directory``; raises RunDirectoryError where another process has it."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / f"{_PREFIX}{platform.node() or 'local'}-{os.getpid()}-{_started(os.getpid())}"
        try:
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError as error:
            raise RunDirectoryError(f"{directory} is already open in this process") from error
        except OSError as error:
            raise RunDirectoryError(f"cannot lock {directory}: {error.strerror}") from error
        holder = self._other_holder()
        if holder:
            self.release()
            raise RunDirectoryError(
                f"{directory} is in use by process {holder['pid']} on {holder['host']}",
                hint=f"wait for it to end; if it is gone, delete {directory / holder.string}",
            )

    def release(self) -> None:
        """Give the directory back; harmless when repeated."""
        self._file.unlink(missing_ok=True)

    def _other_holder(self) -> re.Match[str] | None:
        for file in self._file.parent.glob(f"{_PREFIX}*"):
            match = _NAME.fullmatch(file.name)
            if match is None or file == self._file:
                continue
            if _alive(match):
                return match
            file.unlink(missing_ok=True)
        return None


def _alive(holder: re.Match[str]) -> bool:
    if holder["host"] != (platform.node() or "local"):
        return True  # another machine's process cannot be asked
    started = _started(int(holder["pid"]))
    return started is not None and abs(started - int(holder["started"])) <= _CLOCK_TOLERANCE_S


def _started(pid: int) -> int | None:
    """When the process began, in whole seconds; None where there is no such process."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except psutil.NoSuchProcess:
        return None
