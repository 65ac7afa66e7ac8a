"""Whole-model latency of variants that were timed a few at once, on one scale."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import least_squares

__all__ = ["BlockSamples", "joint_totals", "uncertainty"]

_QUIET = 0.25  # the quantile of the samples that counts: other work makes inferences slower, never faster
_TYPICAL = 0.01  # relative: what a quartile is usually off by; much more than that was disturbed


BlockSamples = Mapping[int, Sequence[float]]
"""The ms of some variants, by number, that took turns with each other and with dense (0)."""


def joint_totals(blocks: Sequence[BlockSamples]) -> dict[int, float]:
    """The ms of every variant, from ``blocks`` of a few of them each.

    A sample takes what its variant takes times what the machine was like for all of its block: an incomplete block
    design (Yates 1936), fitted in logarithms and robustly. So what changes between the blocks cancels out, and a
    variant is compared with all others that it met, not with dense alone. The scale is the median of dense's.
    """
    names = sorted({name for block in blocks for name in block})
    cells = [(names.index(name), len(names) + position) for position, block in enumerate(blocks) for name in block]
    observed = np.log([np.quantile(samples, _QUIET) for block in blocks for samples in block.values()])
    design = np.zeros((len(cells), len(names) + len(blocks)))
    for row, columns in enumerate(cells):
        design[row, columns] = 1.0
    start = np.linalg.lstsq(design, observed)[0]  # of least norm: a constant may be moved from variants to blocks
    found = least_squares(
        lambda logs: design @ logs - observed, start, jac=lambda _: design, loss="soft_l1", f_scale=_TYPICAL
    ).x
    scale = float(np.median([np.quantile(block[0], _QUIET) for block in blocks]))
    return {name: scale * float(np.exp(found[index] - found[0])) for index, name in enumerate(names)}


def uncertainty(blocks: Sequence[BlockSamples]) -> float:
    """The mean relative standard error of what the variants take beside dense, by how it differs between blocks.

    Infinite where no variant is in two of them.
    """
    logs: defaultdict[int, list[float]] = defaultdict(list)
    for block in blocks:
        dense = np.quantile(block[0], _QUIET)
        for name in block.keys() - {0}:
            logs[name].append(math.log(np.quantile(block[name], _QUIET) / dense))
    errors = [np.std(own, ddof=1) / math.sqrt(len(own)) for own in logs.values() if len(own) > 1]
    return float(np.mean(errors)) if errors else math.inf
