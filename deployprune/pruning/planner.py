"""Choosing every group's width: least importance lost within the latency budgets of all targets."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UnsupportedModelError
from deployprune.pruning.candidates import Choice, candidate_widths, choices, kept_units, lost_share
from deployprune.pruning.polish import Limit
from deployprune.pruning.search import Found, search
from deployprune.records import ChannelGroup, LatencyModel, Plan
from deployprune.units import format_ms

__all__ = ["floor_ms", "plan_widths"]


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
) -> Plan:
    """The plan of least lost importance whose corrected predicted latency lies within ``limits`` on every target.

    ``importance[group]`` holds one number >= 0 a unit, comparable across groups. ``limits[target]`` is (low, high) in
    ms; ``correction[target]`` multiplies predictions (1 where missing). Widths are multiples of ``channel_step``
    channels; where those cannot land between low and high on all targets at once, half and quarter steps are tried,
    and at last the low ends are dropped: a plan may be faster than asked, never slower. Equal inputs give equal plans.
    Ratios in the plan are to the model's own prediction of the dense latency.
    Raises UnsupportedModelError, naming the floor, for a ``high`` that no widths reach.
    """
    factors = {key: (correction or {}).get(key, 1.0) for key in limits}
    menus = _menus(groups, importance, channel_step, max_candidates)
    _require_reachable(floor_ms(groups, models, correction=factors, channel_step=channel_step), limits)
    bands = [
        Limit(model=models[key], low=low / factors[key], high=high / factors[key])
        for key, (low, high) in limits.items()
    ]
    found = _first_found(menus, bands, time.monotonic() + time_limit_s)
    if found is None:
        targets = ", ".join(f"{format_ms(high)} on {key}" for key, (_, high) in limits.items())
        raise UnsupportedModelError(
            f"no widths meet all latency targets at once: {targets}", hint="raise one of them, or leave one out"
        )
    dense = {group.name: group.size for group in groups}
    reference = {key: models[key].predict_ms(dense) for key in limits}
    kept = {group.name: kept_units(importance[group.name], found.widths[group.name]) for group in groups}
    return Plan(
        widths=found.widths,
        kept=kept,
        loss=lost_share(importance, kept),
        gap=found.gap,
        predicted_ratio={key: models[key].predict_ms(found.widths) * factors[key] / reference[key] for key in limits},
        target_ratio={key: high / reference[key] for key, (_, high) in limits.items()},
    )


def floor_ms(
    groups: Sequence[ChannelGroup],
    models: Mapping[str, LatencyModel],
    *,
    correction: Mapping[str, float] | None = None,
    channel_step: int = 1,
) -> dict[str, float]:
    """The least latency in ms that a plan can reach on each target: every group as narrow as plans make it."""
    narrowest = [{group.name: candidate_widths(group, 2, step)[0] for group in groups} for step in _steps(channel_step)]
    return {
        key: min(model.predict_ms(widths) for widths in narrowest) * (correction or {}).get(key, 1.0)
        for key, model in models.items()
    }


def _first_found(menus: Sequence[Sequence[Choice]], bands: Sequence[Limit], deadline: float) -> Found | None:
    """The first menu's plan within the bands, or else the first that is below their upper ends."""
    ceilings = [replace(band, low=0.0) for band in bands]
    attempts = ((menu, limits) for limits in (bands, ceilings) for menu in menus)
    return next(filter(None, (search(menu, limits, deadline) for menu, limits in attempts)), None)


def _steps(channel_step: int) -> tuple[int, ...]:
    """The channel steps that plans are tried on, in turn."""
    return tuple(dict.fromkeys((channel_step, max(1, channel_step // 2), max(1, channel_step // 4))))


def _menus(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, NDArray[np.float64]],
    channel_step: int,
    max_candidates: int,
) -> list[tuple[Choice, ...]]:
    """Each step's candidates, without those that repeat an earlier step's."""
    menus: list[tuple[Choice, ...]] = []
    for step in _steps(channel_step):
        menu = choices(groups, importance, max_candidates=max_candidates, channel_step=step)
        if all(any(a.widths != b.widths for a, b in zip(menu, other, strict=True)) for other in menus):
            menus.append(menu)
    return menus


def _require_reachable(floors: Mapping[str, float], limits: Mapping[str, tuple[float, float]]) -> None:
    for key, (_, high) in limits.items():
        if floors[key] > high:
            raise UnsupportedModelError(
                f"the target of {format_ms(high)} on {key} is below the floor of {format_ms(floors[key])}: "
                "the predicted latency with every group as narrow as it may get",
                hint=f"ask for {format_ms(floors[key])} or more",
            )
