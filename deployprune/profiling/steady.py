"""The nodes' times of every run as if all had been profiled while the machine was as it was for the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deployprune.profiling.regression import fit_nonnegative
from deployprune.records import VariantRun

__all__ = ["steady_nodes"]

_LEAST_MS = 1e-3  # that profilers tell apart
_EXPECTED = 0.02  # relative: what a total may be off by itself


def steady_nodes(runs: Sequence[VariantRun]) -> list[VariantRun]:
    """The runs, each with its nodes scaled by a factor, so that their sums go with the totals to 2 %.

    A total comes from several sittings, the nodes' times from one, in which the machine may have been slower by a tenth
    than for the next run. The sums are expected to be linear in the total and in the number of nodes, for each pays for
    being timed.
    """
    sums = np.array([max(sum(node.ms for node in run.nodes), _LEAST_MS) for run in runs])
    design = np.array([[run.total_ms, len(run.nodes), 1.0] for run in runs])
    missed = np.log(design @ fit_nonnegative(design, sums) / sums)
    factors = np.exp(np.sign(missed) * np.maximum(np.abs(missed) - _EXPECTED, 0.0))
    return [
        replace(run, nodes=tuple(replace(node, ms=node.ms * factor) for node in run.nodes))
        for run, factor in zip(runs, factors.tolist(), strict=True)
    ]
