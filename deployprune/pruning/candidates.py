"""The widths that a plan may give a group, and what giving them up costs in importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UsageError
from deployprune.records import ChannelGroup

__all__ = ["Choice", "Region", "candidate_widths", "choices", "kept_units", "loss_at", "nearby_widths", "whole_loss"]

_LEAST_SHARE = 1e-6  # of a group's importance: the logarithm's floor
_LEFT_OUT = 0.05  # of a group's importance: what passes a residual branch that is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One group's candidate widths, ascending, and the loss of each: a part of the whole model's importance.

    The loss of keeping the share ``s`` of a group's importance ``I`` is ``-I * log(s)``. For small cuts this is the
    additive first-order loss ``I * (1 - s)``. But first-order terms say nothing of removing nearly all units: layers
    stand in series, so that the shares that pass them multiply, and a group squeezed to nothing blocks all the rest.
    Not so a residual branch: the trunk passes it by. Leaving it out (width 0, with all groups of its ``branch``) costs
    what keeping 5 % would.
    """

    group: str
    widths: tuple[int, ...]
    loss: NDArray[np.float64]
    branch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where a latency model is trusted: widths at most ``reach`` of a group's size (or one step) from ``centre``.

    Of them, multiples of ``finest`` channels (kernels that work on fours fall off a cliff at 31 channels).
    """

    centre: Mapping[str, int]
    reach: float
    finest: int = 4


def choices(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, NDArray[np.float64]],
    *,
    max_candidates: int,
    channel_step: int,
    region: Region | None = None,
) -> tuple[Choice, ...]:
    """Every group's candidates: multiples of its aligned step from its minimum to its size, and the size.

    With a ``region`` only those in it, the nearest to its centre, and the centre.
    Raises UsageError where a group's importances are missing, negative, not finite or not one a unit.
    """
    total = sum(float(_checked(group, importance).sum()) for group in groups) or 1.0
    return tuple(
        Choice(
            group=group.name, widths=widths, loss=loss_at(importance[group.name], widths) / total, branch=group.branch
        )
        for group in groups
        for widths in [_menu(group, max_candidates, channel_step, region)]
    )


def _menu(group: ChannelGroup, count: int, channel_step: int, region: Region | None) -> tuple[int, ...]:
    if region is None:
        return candidate_widths(group, count, channel_step)
    return nearby_widths(group, count, channel_step, region)


def candidate_widths(group: ChannelGroup, count: int, channel_step: int) -> tuple[int, ...]:
    """At most ``count`` (>= 2) widths from the group's least multiple of its aligned step to its size, ascending."""
    return thin(_legal(group, group.aligned_step(channel_step)), count)


def nearby_widths(group: ChannelGroup, count: int, channel_step: int, region: Region) -> tuple[int, ...]:
    """About ``count`` widths of the region, ascending: its centre, and the nearest ones on every step from the aligned
    one, halved and halved again, to the region's finest."""
    halved = (channel_step >> power for power in range(channel_step.bit_length()))
    steps = [group.aligned_step(step) for step in halved if step >= min(region.finest, channel_step)]
    centre, bound = region.centre[group.name], max(region.reach * group.size, steps[-1])
    if centre == 0:
        return (0,)
    chosen = {centre}
    for step in dict.fromkeys(steps):
        near = [width for width in _legal(group, step) if width and 0 < abs(width - centre) <= bound]
        chosen.update(sorted(near, key=lambda width: abs(width - centre))[: max(2, count // len(steps))])
    return tuple(sorted(chosen))


def _legal(group: ChannelGroup, step: int) -> list[int]:
    lowest = min(group.size, -(-max(group.minimum, 1) // step) * step)
    none = {0} if group.branch else set[int]()
    return sorted({*none, *range(lowest, group.size, step), group.size})


def thin(widths: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` of the widths at even distances, with both ends."""
    if len(widths) <= count:
        return tuple(widths)
    return tuple(widths[i] for i in np.linspace(0, len(widths) - 1, max(count, 2)).round().astype(int))


def kept_units(importance: NDArray[np.float64], width: int) -> tuple[int, ...]:
    """The indices, ascending, of the ``width`` most important units (the earlier one, of equals)."""
    order = np.argsort(-np.asarray(importance), kind="stable")
    return tuple(sorted(int(unit) for unit in order[:width]))


def whole_loss(importance: Mapping[str, NDArray[np.float64]], widths: Mapping[str, int]) -> float:
    """The loss of all these widths, each as :class:`Choice` says: what plans are chosen by.

    ``exp(-loss)`` is the share of all importance that they keep, the groups' weighted geometric mean.
    """
    total = sum(float(np.sum(values)) for values in importance.values()) or 1.0
    return sum(float(loss_at(importance[name], (width,))[0]) for name, width in widths.items()) / total


def loss_at(importance: NDArray[np.float64], widths: Sequence[int]) -> NDArray[np.float64]:
    """``-I * log(s)`` at each of the widths, with ``I`` the group's importance (see :class:`Choice`, for 0 too)."""
    sums = np.cumsum(np.sort(np.asarray(importance, dtype=np.float64))[::-1])
    whole = float(sums[-1])
    if whole <= 0.0:
        return np.zeros(len(widths))
    shares = np.concatenate([[_LEFT_OUT * whole], sums])[np.array(widths)] / whole
    return np.asarray(-whole * np.log(np.clip(shares, _LEAST_SHARE, 1.0)), dtype=np.float64)


def _checked(group: ChannelGroup, importance: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.asarray(importance.get(group.name, ()), dtype=np.float64)
    if values.shape != (group.size,) or not np.isfinite(values).all() or (values < 0.0).any():
        raise UsageError(
            f"importance of group {group.name!r} is not {group.size} finite numbers >= 0",
            hint="score every unit of every group with deployprune.pruning.importance.score",
        )
    return values
