"""The file of a latency table, as another run left it."""

from __future__ import annotations

from pathlib import Path

from deployprune.record_file import read_record
from deployprune.records import LatencyTable

__all__ = ["read_latency_table"]


def read_latency_table(path: Path) -> LatencyTable:
    """The table in a file. Raises UsageError where it cannot be read, is damaged, or is no latency table."""
    hint = "give the 30-table-... file of a run that `deployprune profile MODEL` or `compress` made"
    return read_record(path, LatencyTable, hint=hint)
