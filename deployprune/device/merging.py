"""Two tables of one device as one: more widths, or the quieter one of two measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployprune.device.identity import require_same_device, require_same_target
from deployprune.device.layers import Definition
from deployprune.device.records import DeviceTable, Sweep
from deployprune.device.staircase import fit_table
from deployprune.errors import UsageError

__all__ = ["merge_tables"]


def merge_tables(first: DeviceTable, second: DeviceTable, *, force: bool = False) -> DeviceTable:
    """All samples of both, fitted anew.

    Raises UsageError for tables of different targets or suites, and of different devices unless ``force``.
    """
    require_same_target("the second table", second.target, first.target)
    if first.suite != second.suite:
        raise UsageError(
            f"the tables are of different suites, {first.suite} and {second.suite}", hint="measure the older one again"
        )
    require_same_device("the second table", second.host, first.host, first.target.backend, force=force)
    merged = replace(
        first,
        seconds=round(first.seconds + second.seconds, 1),
        reference_ms=first.reference_ms + second.reference_ms,
        sweeps=tuple(_merged_sweeps(first, second)),
        threads=first.threads + second.threads,
    )
    return fit_table(merged)


def _merged_sweeps(first: DeviceTable, second: DeviceTable) -> Iterator[Sweep]:
    later = len(first.reference_ms)
    moved: dict[Definition, Sweep] = {
        sweep.definition: replace(sweep, cells=tuple(replace(cell, batch=cell.batch + later) for cell in sweep.cells))
        for sweep in second.sweeps
    }
    for sweep in first.sweeps:
        other = moved.pop(sweep.definition, None)
        yield replace(sweep, cells=sweep.cells + (other.cells if other else ()))
    yield from moved.values()
