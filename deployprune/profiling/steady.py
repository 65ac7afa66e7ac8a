"""The nodes of all runs as if profiled while the machine was as it was for their totals, and how far to trust each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.regression import fit_nonnegative
from deployprune.records import VariantRun

__all__ = ["SteadyRuns", "disturbances", "steady_nodes"]

_LEAST_MS = 1e-3  # that profilers tell apart
_EXPECTED = 0.02  # relative: what a total may be off by itself
_ABOVE = 0.1  # how much sums above what is expected count for it: they are disturbed, those below are not
_REWEIGHTINGS = 5
_DISTURBED = 0.05  # relative: nodes that were off by so much more count half


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyRuns:
    """Runs with their nodes' times made steady, and how precise these are: 1, or less where they had been disturbed."""

    runs: tuple[VariantRun, ...]
    precision: NDArray[np.float64]


def disturbances(runs: Sequence[VariantRun]) -> NDArray[np.float64]:
    """How much longer (relative, in logarithms) each run's nodes took in sum than goes with its total.

    A total comes from several sittings, the nodes' times from one, in which the machine may have been slower by a tenth
    than for the next run. The sums are expected to be linear in the total and in the number of nodes, for each pays for
    being timed. What disturbs makes them larger, never smaller: the line runs low among them, as an expectile does
    (Newey and Powell 1987), and then through the middle of those near it.
    """
    sums = np.array([max(sum(node.ms for node in run.nodes), _LEAST_MS) for run in runs])
    design = np.array([[run.total_ms, len(run.nodes), 1.0] for run in runs])
    above = np.zeros(len(runs), dtype=bool)
    for _ in range(_REWEIGHTINGS):
        expected = design @ fit_nonnegative(design, sums, precision=np.where(above, _ABOVE, 1.0))
        above = sums > expected
    missed = np.log(sums / expected)
    return np.asarray(missed - np.median(missed[missed <= _DISTURBED]), dtype=np.float64)


def steady_nodes(runs: Sequence[VariantRun]) -> SteadyRuns:
    """The runs, each with its nodes scaled by a factor, so that their sums go with the totals to 2 %.

    What slowed a run down did not slow all its nodes alike, so that a factor mends the sum alone: the more it mends,
    the less precise are the nodes.
    """
    missed = disturbances(runs)
    excess = np.maximum(np.abs(missed) - _EXPECTED, 0.0)
    factors = np.exp(-np.sign(missed) * excess)
    scaled = (
        replace(run, nodes=tuple(replace(node, ms=node.ms * factor) for node in run.nodes))
        for run, factor in zip(runs, factors.tolist(), strict=True)
    )
    return SteadyRuns(runs=tuple(scaled), precision=1.0 / (1.0 + (excess / _DISTURBED) ** 2))
