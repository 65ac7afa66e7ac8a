"""The nodes' times of every run as if all had been profiled while the machine was as it was for the totals, and how far
to trust each."""

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
_DISTURBED = 0.05  # relative: nodes that were off by so much more count half


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyRuns:
    """Runs with their nodes' times made steady, and the precision of these: 1, or less where they had been disturbed."""

    runs: tuple[VariantRun, ...]
    precision: NDArray[np.float64]


def disturbances(runs: Sequence[VariantRun]) -> NDArray[np.float64]:
    """How much longer (relative, in logarithms) each run's nodes took in sum than goes with its total.

    A total comes from several sittings, the nodes' times from one, in which the machine may have been slower by a tenth
    than for the next run. The sums are expected to be linear in the total and in the number of nodes, for each pays for
    being timed.
    """
    sums = np.array([max(sum(node.ms for node in run.nodes), _LEAST_MS) for run in runs])
    design = np.array([[run.total_ms, len(run.nodes), 1.0] for run in runs])
    return np.asarray(np.log(sums / (design @ fit_nonnegative(design, sums))), dtype=np.float64)


def steady_nodes(runs: Sequence[VariantRun]) -> SteadyRuns:
    """The runs, each with its nodes scaled by a factor, so that their sums go with the totals to 2 %.

    What slowed a run down did not slow all its nodes alike, so that a factor mends the sum alone: the more it mends, the
    less precise are the nodes.
    """
    missed = disturbances(runs)
    excess = np.maximum(np.abs(missed) - _EXPECTED, 0.0)
    factors = np.exp(-np.sign(missed) * excess)
    scaled = (
        replace(run, nodes=tuple(replace(node, ms=node.ms * factor) for node in run.nodes))
        for run, factor in zip(runs, factors.tolist(), strict=True)
    )
    return SteadyRuns(runs=tuple(scaled), precision=1.0 / (1.0 + (excess / _DISTURBED) ** 2))
