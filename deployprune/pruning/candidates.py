"""The widths that a plan may give a group, and what giving them up costs in importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UsageError
from deployprune.records import ChannelGroup

__all__ = ["Choice", "candidate_widths", "choices", "kept_units", "lost_share"]

_LEAST_SHARE = 1e-6  # of a group's importance: the logarithm's floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One group's candidate widths, ascending, and the loss of each: a part of the whole model's importance.

    The loss of keeping the share ``s`` of a group's importance ``I`` is ``-I * log(s)``. For small cuts this is the
    additive first-order loss ``I * (1 - s)``. But first-order terms say nothing of removing nearly all units: layers
    stand in series, so that the shares that pass them multiply, and a group squeezed to nothing blocks all the rest.
    """

    group: str
    widths: tuple[int, ...]
    loss: NDArray[np.float64]


def choices(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, NDArray[np.float64]],
    *,
    max_candidates: int,
    channel_step: int,
) -> tuple[Choice, ...]:
    """Every group's candidates: multiples of its aligned step from its minimum to its size, and the size.

    Raises UsageError where a group's importances are missing, negative, not finite or not one a unit.
    """
    total = sum(float(_checked(group, importance).sum()) for group in groups) or 1.0
    return tuple(
        Choice(group=group.name, widths=widths, loss=_loss(importance[group.name], widths) / total)
        for group in groups
        for widths in [candidate_widths(group, max_candidates, channel_step)]
    )


def candidate_widths(group: ChannelGroup, count: int, channel_step: int) -> tuple[int, ...]:
    """At most ``count`` (>= 2) widths from the group's least multiple of its aligned step to its size, ascending."""
    step = group.aligned_step(channel_step)
    lowest = min(group.size, -(-max(group.minimum, 1) // step) * step)
    return thin(sorted({*range(lowest, group.size, step), group.size}), count)


def thin(widths: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` of the widths at even distances, with both ends."""
    if len(widths) <= count:
        return tuple(widths)
    return tuple(widths[i] for i in np.linspace(0, len(widths) - 1, max(count, 2)).round().astype(int))


def kept_units(importance: NDArray[np.float64], width: int) -> tuple[int, ...]:
    """The indices, ascending, of the ``width`` most important units (the earlier one, of equals)."""
    order = np.argsort(-np.asarray(importance), kind="stable")
    return tuple(sorted(int(unit) for unit in order[:width]))


def lost_share(importance: Mapping[str, NDArray[np.float64]], kept: Mapping[str, Sequence[int]]) -> float:
    """The share of all importance that the units not kept hold."""
    total = sum(float(np.sum(values)) for values in importance.values())
    stays = sum(float(np.asarray(importance[name])[list(units)].sum()) for name, units in kept.items())
    return 1.0 - stays / total if total > 0.0 else 0.0


def _loss(importance: NDArray[np.float64], widths: Sequence[int]) -> NDArray[np.float64]:
    values = np.sort(np.asarray(importance, dtype=np.float64))[::-1]
    whole = float(values.sum())
    if whole <= 0.0:
        return np.zeros(len(widths))
    shares = np.cumsum(values)[np.array(widths) - 1] / whole
    return np.asarray(-whole * np.log(np.clip(shares, _LEAST_SHARE, 1.0)), dtype=np.float64)


def _checked(group: ChannelGroup, importance: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.asarray(importance.get(group.name, ()), dtype=np.float64)
    if values.shape != (group.size,) or not np.isfinite(values).all() or (values < 0.0).any():
        raise UsageError(
            f"importance of group {group.name!r} is not {group.size} finite numbers >= 0",
            hint="score every unit of every group with deployprune.pruning.importance.score",
        )
    return values
