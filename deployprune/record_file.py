"""A single record's file that a user names, outside of any run."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from deployprune.codec import decode
from deployprune.errors import RunDirectoryError, UsageError

__all__ = ["read_record"]

T = TypeVar("T")


def read_record(path: Path, kind: type[T], *, hint: str) -> T:
    """The record in ``path``. Raises UsageError, with ``hint``, for a file that cannot be read or holds another."""
    try:
        return decode(path.read_bytes(), kind, name=str(path))
    except OSError as error:
        raise UsageError(f"cannot read the table {path}: {error.strerror}", hint=hint) from error
    except RunDirectoryError as error:
        raise UsageError(error.message, hint=hint) from error
