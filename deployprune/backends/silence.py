"""What native code says on the standard streams by itself, held back: a runtime's greetings are no output of ours."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["held_output", "held_stderr"]

_STDOUT, _STDERR = 1, 2


@contextmanager
def held_stderr() -> Iterator[list[str]]:
    """Keep the process's standard error to itself while the block runs; the list has its lines when the block ends.

    The file descriptor is redirected, for native code writes past ``sys.stderr``. Keep blocks short: what other
    threads write meanwhile is held back too.
    """
    with _held(_STDERR) as said:
        yield said


@contextmanager
def held_output() -> Iterator[list[str]]:
    """As :func:`held_stderr`, but for both streams."""
    with _held(_STDOUT, _STDERR) as said:
        yield said


@contextmanager
def _held(*streams: int) -> Iterator[list[str]]:
    said: list[str] = []
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryFile())
        stack.callback(_read, place.fileno(), said)
        _flush()
        for stream in streams:
            kept = os.dup(stream)
            os.dup2(place.fileno(), stream)
            stack.callback(_restore, kept, stream)
        stack.callback(_flush)
        yield said


def _flush() -> None:
    """Write out what Python and the C library still hold for either stream."""
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)


def _restore(kept: int, stream: int) -> None:
    os.dup2(kept, stream)
    os.close(kept)


def _read(descriptor: int, said: list[str]) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as place:
        said.extend(place.read().decode(errors="replace").splitlines())
