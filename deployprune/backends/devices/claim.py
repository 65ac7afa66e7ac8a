"""The right to measure on a device: a lock of whoever measures."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from deployprune.backends.devices.cooling import let_cool
from deployprune.errors import DeviceError

__all__ = ["Claim"]

_STEP_S = 0.5


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
        """Have the device, now or after a while, and cool. Raises DeviceError where it stays in use, or hot."""
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
        let_cool()

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
