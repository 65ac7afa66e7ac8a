"""The file of a latency table, as another run left it."""

from __future__ import annotations

from pathlib import Path

from deployprune.codec import decode
from deployprune.errors import RunDirectoryError, UsageError
from deployprune.records import LatencyTable

__all__ = ["read_latency_table"]


def read_latency_table(path: Path) -> LatencyTable:
    """The table in a file. Raises UsageError where it cannot be read, is damaged, or is no latency table."""
    hint = "give the 30-table-... file of a run that `deployprune profile MODEL` or `compress` made"
    try:
        return decode(path.read_bytes(), LatencyTable, name=str(path))
    except OSError as error:
        raise UsageError(f"cannot read the table {path}: {error.strerror}", hint=hint) from error
    except RunDirectoryError as error:
        raise UsageError(error.message, hint=hint) from error
