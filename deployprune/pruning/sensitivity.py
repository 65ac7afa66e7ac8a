"""Importance from measured sensitivity curves: how far the model's outputs move as one group after another gets narrow.

First-order scores rank the units of a layer well, but what layers are worth beside each other they only guess: a layer
of large gradients may be one that the next layers repair. So the ranking is theirs, and the scale is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deployprune.records import ChannelGroup

__all__ = ["SHARES", "Damage", "sensitivities"]

Damage = Callable[[str, Sequence[int]], float]
"""How far the outputs move from the dense model's when of one group only these units stay (>= 0, 0 for all)."""

SHARES = (0.75, 0.5, 0.25)  # of a group's units: where its curve is measured
_TILT = 1e-9  # keeps the given order among units of one slope


def sensitivities(
    groups: Sequence[ChannelGroup], order: dict[str, NDArray[np.float64]], damage: Damage
) -> dict[str, NDArray[np.float64]]:
    """``group -> importances``: the differences of each group's curve, its units going in the order of ``order``.

    Their sums over any number of units, in any groups, are damages on one scale. The curve is made convex first (the
    next unit never costs less than the one before): noise, and outputs that cannot get any worse, would say otherwise.
    """
    return {group.name: _importances(group, order[group.name], damage) for group in groups}


def _importances(group: ChannelGroup, order: NDArray[np.float64], damage: Damage) -> NDArray[np.float64]:
    going = np.argsort(order, kind="stable")  # the first to go first
    widths = sorted({max(1, round(share * group.size)) for share in SHARES} - {group.size}, reverse=True)
    removed = np.array([0, *(group.size - width for width in widths)])
    curve = [0.0, *(max(0.0, damage(group.name, sorted(going[-width:].tolist()))) for width in widths)]
    values = np.empty(group.size)
    values[going] = _slopes(removed, np.array(curve), group.size)
    return values


def _slopes(removed: NDArray[np.int64], curve: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The damage of the first unit to go, of the second, and so on: never falling."""
    from scipy.optimize import isotonic_regression

    if len(removed) == 1:
        return np.ones(size)
    steps = np.diff(removed)
    slopes = isotonic_regression(np.diff(curve) / steps, weights=steps).x
    middles = removed[:-1] + steps / 2
    units = np.arange(size)
    values: NDArray[np.float64] = np.interp(units + 0.5, *_to_the_ends(middles, slopes, size)) * (1.0 + _TILT * units)
    return values


def _to_the_ends(
    middles: NDArray[np.float64], slopes: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The slopes carried on along their first and last change, to no unit gone (not below 0) and to all of them."""
    if len(slopes) < 2:
        return middles, slopes
    changes = np.diff(slopes) / np.diff(middles)
    first = max(0.0, slopes[0] - changes[0] * middles[0])
    last = slopes[-1] + changes[-1] * (size - middles[-1])
    return np.array([0.0, *middles, size]), np.array([first, *slopes, last])
