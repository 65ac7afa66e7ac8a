"""Whole-model latency of variants that were timed in different rounds, on one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["QUIET", "paired_totals"]

QUIET = 0.25  # the quantile of the samples that counts


def paired_totals(timed: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[float]:
    """The ms of each variant from its samples and those of the dense model in the same rounds; the first is dense.

    A variant's latency is its ratio to dense, of lower quartiles, times the median of all the dense model's: drift
    between the batches cancels out, and work of other processes makes inferences slower, never faster.
    """
    scale = float(np.median([np.quantile(dense, QUIET) for _, dense in timed]))
    ratios = [float(np.quantile(own, QUIET) / np.quantile(dense, QUIET)) for own, dense in timed]
    return [scale, *(ratio * scale for ratio in ratios[1:])]
