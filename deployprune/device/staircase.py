"""What a sweep says: on which channel step its latency climbs, and what a width off the alignment costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from deployprune.device.records import DeviceTable, Staircase, quiet_ms
from deployprune.profiling.regression import cross_validated_error, fit_nonnegative
from deployprune.stats import split_half_noise

__all__ = ["fit_staircase", "fit_table"]

_STEPS = (1, 4, 8, 16, 32)
_ALIGNMENTS = (1, 4, 8, 16)
_CLEARLY = 0.9  # a finer law must bring the cross-validated error below this share of the simpler one's
_NEARLY = 1.05  # of several steps within so much of the least error, the finest is taken
_CLIFF = 0.05  # of extra latency off an alignment that counts as one
_FEWEST = 8  # widths that a law is fitted on
_FEWEST_OFF = 3  # widths on either side of an alignment that it takes to tell it apart


def fit_table(table: DeviceTable) -> DeviceTable:
    """The table with everything that follows from its samples: laws, channel step, noise and drift.

    The device's step is the one on which all sweeps that contract are explained best together: a single sweep has too
    few widths to be sure.
    """
    points = [table.points(sweep) for sweep in table.sweeps]
    sweeps = tuple(replace(s, law=fit_staircase(found)) for s, found in zip(table.sweeps, points, strict=True))
    contracting = [found for s, found in zip(table.sweeps, points, strict=True) if s.definition.macs(1)]
    references = [quiet_ms(samples) for samples in table.reference_ms]
    return replace(
        table,
        sweeps=sweeps,
        channel_step=_common_step([found for found in contracting if len(found) >= _FEWEST]),
        noise=round(median(split_half_noise(samples) for samples in table.reference_ms), 5),
        drift=round((max(references) - min(references)) / median(references), 5),
    )


def fit_staircase(points: Mapping[int, float]) -> Staircase | None:
    """The law of latency in ms by width, or None where there are too few widths.

    A straight line, unless steps explain the widths clearly better, and those unless a second law off some alignment
    does; by cross-validation over the widths.
    """
    if len(points) < _FEWEST:
        return None
    widths, ms = _arrays(points)
    laws = sorted(((step, alignment) for step in _STEPS for alignment in _ALIGNMENTS), key=lambda law: (law[1], law[0]))
    chosen = _fit_law(widths, ms, *laws[0])
    for step, alignment in laws[1:]:
        law = _fit_law(widths, ms, step, alignment)
        cliff = alignment == 1 or law.cliff(int(np.median(widths))) >= _CLIFF
        if cliff and law.error < _CLEARLY * chosen.error:
            chosen = law
    return chosen


def _fit_law(widths: NDArray[np.int64], ms: NDArray[np.float64], step: int, alignment: int) -> Staircase:
    fitted = [_line(widths[part], ms[part], step) for part in _regimes(widths, alignment)]
    return Staircase(
        step=step,
        alignment=alignment if len(fitted) == 2 else 1,
        aligned=fitted[0],
        unaligned=fitted[-1],
        error=round(_error(widths, ms, step, alignment), 5),
    )


def _common_step(sweeps: Sequence[Mapping[int, float]]) -> int:
    if not sweeps:
        return 1
    errors = [
        sum(min(_error(*_arrays(points), step, alignment) for alignment in _ALIGNMENTS) for points in sweeps)
        for step in _STEPS
    ]
    return next(step for step, error in zip(_STEPS, errors, strict=True) if error <= _NEARLY * min(errors) + 1e-9)


def _arrays(points: Mapping[int, float]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    widths = np.array(sorted(points))
    return widths, np.array([points[int(width)] for width in widths])


def _design(widths: NDArray[np.int64], step: int) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(widths)), -(-widths // step) * step])


def _regimes(widths: NDArray[np.int64], alignment: int) -> list[NDArray[np.bool_]]:
    """Widths on the alignment and off it; all together where there are too few of either."""
    off = widths % alignment != 0
    if min(off.sum(), (~off).sum()) < _FEWEST_OFF:
        return [np.ones(len(widths), dtype=bool)]
    return [~off, off]


def _error(widths: NDArray[np.int64], ms: NDArray[np.float64], step: int, alignment: int) -> float:
    design = _design(widths, step)
    parts = [cross_validated_error(design[part], ms[part]) for part in _regimes(widths, alignment)]
    return float(np.abs(np.concatenate(parts)).mean())


def _line(widths: NDArray[np.int64], ms: NDArray[np.float64], step: int) -> tuple[float, float]:
    constant, slope = fit_nonnegative(_design(widths, step), ms)
    return float(f"{constant:.5g}"), float(f"{slope:.5g}")
