"""A device's own files: models by their content, so that each travels once, and the lock of whoever measures."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from deployprune.errors import DeviceError

__all__ = ["Claim", "ModelStore"]

_LIMIT = 2 << 30  # bytes of models that stay on a device
_STEP_S = 0.5


class ModelStore:
    """Models in ``folder``, each in one called after the hash of its files; the oldest go when there are too many."""

    def __init__(self, folder: Path, limit: int = _LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def find(self, digest: str) -> Path | None:
        """The folder of the model, or None where it is not here yet."""
        found = self._folder / _checked(digest)
        if not found.is_dir():
            return None
        os.utime(found)
        return found

    def add(self, digest: str, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Keep the files of a model, all or none. Raises DeviceError for a name that is a path."""
        folder = self._folder / _checked(digest)
        kept = [_checked(name) for name in names]
        part = self._folder / f".{digest[:16]}-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, content in zip(kept, contents, strict=True):
            (part / name).write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
        self._shrink(keep=folder)

    def _shrink(self, keep: Path) -> None:
        """Remove what was used longest ago until the rest fits; open files stay readable until they are closed."""
        found = sorted(self._folder.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        total = 0
        for folder in (keep, *(folder for folder in found if folder != keep)):
            total += sum(file.stat().st_size for file in folder.iterdir())
            if total > self._limit and folder != keep:
                shutil.rmtree(folder, ignore_errors=True)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or Path(name).name != name:
        raise DeviceError(f"{name!r} is no name of a model file")
    return name


class Claim:
    """The right to measure on this device: one client has it at a time, and a client's own leftover gives way.

    Another client is waited for, for ``wait_s`` seconds.
    """

    def __init__(self, file: Path, client: str, wait_s: float) -> None:
        self._file = file
        self._client = client
        self._wait_s = wait_s
        self._stream: int | None = None

    def take(self) -> None:
        """Have the device, now or after a while. Raises DeviceError where another client keeps it."""
        if self._stream is not None:
            return
        stream = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self._wait_s
        while not _locked(stream):
            pid, _, client = os.pread(stream, 200, 0).decode(errors="replace").partition(" ")
            if client == self._client and pid.isdigit():
                _end_agent(int(pid))
            elif time.monotonic() > deadline:
                os.close(stream)
                raise DeviceError(
                    "the device is in use: another deployprune has been measuring on it",
                    hint="wait until it is done; a run goes on with --resume",
                )
            time.sleep(_STEP_S)
        os.ftruncate(stream, 0)
        os.pwrite(stream, f"{os.getpid()} {self._client}".encode(), 0)
        self._stream = stream

    def release(self) -> None:
        """Let others have it; harmless without."""
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None


def _locked(stream: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_agent(pid: int) -> None:
    """End this client's agent of a connection that was lost, which may not have noticed."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"deployprune-agent" in words:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return
