"""Device tables measured in moments, by the fake backend's law or by none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from deployprune.device.layers import Definition
from deployprune.device.measuring import measure_device
from deployprune.device.records import Cell, DeviceTable, Sweep
from deployprune.device.staircase import fit_table
from deployprune.device.suite import SUITE, cells_by_level
from deployprune.progress import SilentObserver
from deployprune.records import Target

DETAILED = (SUITE[1], SUITE[4], SUITE[2])  # two kinds of convolution, and depthwise


@contextmanager
def short_suite(definitions: Sequence[Definition] = DETAILED) -> Iterator[None]:
    """Leave these definitions of the suite, each at all its widths."""
    cells = [(definition, widths) for definition, widths in cells_by_level() if definition in definitions]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deployprune.device.measuring.cells_by_level", lambda: iter(cells))
        patch.setattr("deployprune.device.measuring.THREADED", DETAILED[:1])
        yield


def measured(definitions: Sequence[Definition] = DETAILED, budget_s: float = 600.0) -> DeviceTable:
    """What the fake backend's law gives for these definitions."""
    with short_suite(definitions), SilentObserver().step("measuring") as task:
        return measure_device(Target(backend="fake"), budget_s=budget_s, seed=0, task=task)


def scaled(table: DeviceTable, factor: float) -> DeviceTable:
    """The table of a device that takes ``factor`` times as long for everything."""
    return fit_table(
        replace(
            table,
            reference_ms=tuple(_times(samples, factor) for samples in table.reference_ms),
            sweeps=tuple(
                Sweep(
                    definition=sweep.definition,
                    cells=tuple(
                        Cell(width=c.width, batch=c.batch, samples_ms=_times(c.samples_ms, factor)) for c in sweep.cells
                    ),
                )
                for sweep in table.sweeps
            ),
        )
    )


def _times(samples: tuple[float, ...], factor: float) -> tuple[float, ...]:
    return tuple(sample * factor for sample in samples)
