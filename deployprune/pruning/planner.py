"""Choosing every group's width: least importance lost within the latency budgets of all targets."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UnsupportedModelError
from deployprune.pruning.candidates import Region, candidate_widths, choices, kept_units, whole_loss
from deployprune.pruning.ceilings import Ceiling, require_reachable
from deployprune.pruning.polish import Limit
from deployprune.pruning.search import gap_between, search
from deployprune.pruning.stages import Attempt, Menus, find
from deployprune.records import ChannelGroup, LatencyModel, Plan
from deployprune.units import format_ms

__all__ = ["floor_ms", "plan_gap", "plan_widths"]

_LEISURE = 0.15  # of the time limit, in which a plan that was found is still improved on


def plan_widths(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, NDArray[np.float64]],
    models: Mapping[str, LatencyModel],
    limits: Mapping[str, tuple[float, float]],
    *,
    correction: Mapping[str, float] | None = None,
    channel_step: int = 1,
    max_candidates: int = 12,
    time_limit_s: float = 20.0,
    region: Region | None = None,
    avoid: Sequence[Mapping[str, int]] = (),
    ceilings: Sequence[Ceiling] = (),
) -> Plan:
    """The plan of least lost importance whose corrected predicted latency lies within ``limits`` on every target.

    ``importance[group]`` holds one number >= 0 a unit, comparable across groups. ``limits[target]`` is (low, high) in
    ms; ``correction[target]`` multiplies predictions (1 where missing). Widths are multiples of ``channel_step``
    channels; where those cannot land between low and high on all targets at once, half and quarter steps are tried,
    and at last the low ends are dropped: a plan may be faster than asked, never slower. Equal inputs give equal plans.
    With a ``region`` widths are looked for in it alone, on its finer steps; widths in ``avoid`` are not planned.
    Ratios in the plan are to the model's own prediction of the dense latency. All ``ceilings`` are kept as well.
    Raises UnsupportedModelError, naming the floor, for a ``high`` or a ceiling that no widths reach.
    """
    factors = {key: (correction or {}).get(key, 1.0) for key in limits}
    if region is None:
        require_reachable(ceilings, _narrowest(groups, channel_step))
        _require_reachable(floor_ms(groups, models, correction=factors, channel_step=channel_step), limits)
    bands = [
        Limit(model=models[key], low=low / factors[key], high=high / factors[key])
        for key, (low, high) in limits.items()
    ]
    bands += [ceiling.band() for ceiling in ceilings]
    menus = Menus(groups, importance, _steps(channel_step), max_candidates)
    now = time.monotonic()
    attempt = Attempt(deadline=now + time_limit_s, leisure=now + _LEISURE * time_limit_s, avoid=avoid)
    found = find(menus, bands, region, attempt)
    if found is None:
        targets = [f"{format_ms(high)} on {key}" for key, (_, high) in limits.items()]
        targets += [f"{ceiling.text(round(ceiling.limit))} of {ceiling.name}" for ceiling in ceilings]
        kind = "latency targets and limits" if ceilings else "latency targets"
        raise UnsupportedModelError(
            f"no widths meet all {kind} at once: {', '.join(targets)}", hint="raise one of them, or leave one out"
        )
    dense = {group.name: group.size for group in groups}
    reference = {key: models[key].predict_ms(dense) for key in limits}
    kept = {group.name: kept_units(importance[group.name], found.widths[group.name]) for group in groups}
    return Plan(
        widths=found.widths,
        kept=kept,
        loss=1.0 - math.exp(-found.loss),
        gap=found.gap,
        predicted_ratio={key: models[key].predict_ms(found.widths) * factors[key] / reference[key] for key in limits},
        target_ratio={key: high / reference[key] for key, (_, high) in limits.items()},
    )


def plan_gap(
    widths: Mapping[str, int],
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, NDArray[np.float64]],
    models: Mapping[str, LatencyModel],
    highs: Mapping[str, float],
    *,
    channel_step: int = 1,
    max_candidates: int = 12,
    time_limit_s: float = 20.0,
    ceilings: Sequence[Ceiling] = (),
) -> float:
    """How far the importance that ``widths`` keep may lie below the best within ``highs`` (ms by target), as a share.

    The bound is over all widths on the channel step and within the ceilings, however far from ``widths``; 0 where none
    of them keep more.
    """
    menu = choices(groups, importance, max_candidates=max_candidates, channel_step=channel_step)
    bands = [Limit(model=models[key], low=0.0, high=high) for key, high in highs.items()]
    bands += [ceiling.band() for ceiling in ceilings]
    best = search(menu, bands, time.monotonic() + time_limit_s)
    if best is None:
        return 0.0
    return gap_between(whole_loss(importance, widths), best.bound)


def floor_ms(
    groups: Sequence[ChannelGroup],
    models: Mapping[str, LatencyModel],
    *,
    correction: Mapping[str, float] | None = None,
    channel_step: int = 1,
) -> dict[str, float]:
    """The least latency in ms that a plan can reach on each target: every group as narrow as plans make it."""
    narrowest = _narrowest(groups, channel_step)
    return {
        key: min(model.predict_ms(widths) for widths in narrowest) * (correction or {}).get(key, 1.0)
        for key, model in models.items()
    }


def _narrowest(groups: Sequence[ChannelGroup], channel_step: int) -> list[dict[str, int]]:
    """Every group as narrow as plans make it, on one step after another."""
    return [{group.name: candidate_widths(group, 2, step)[0] for group in groups} for step in _steps(channel_step)]


def _steps(channel_step: int) -> tuple[int, ...]:
    """The channel steps that plans are tried on, in turn."""
    return tuple(dict.fromkeys((channel_step, max(1, channel_step // 2), max(1, channel_step // 4))))


def _require_reachable(floors: Mapping[str, float], limits: Mapping[str, tuple[float, float]]) -> None:
    for key, (_, high) in limits.items():
        if floors[key] > high:
            raise UnsupportedModelError(
                f"the target of {format_ms(high)} on {key} is below the floor of {format_ms(floors[key])}: "
                "the predicted latency with every group as narrow as it may get",
                hint=f"ask for {format_ms(floors[key])} or more",
            )
