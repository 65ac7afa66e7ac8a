"""The plan: which units stay, and how the closed loop came to it."""

from __future__ import annotations

from dataclasses import dataclass

from deployprune.records.measurement import Ratio

__all__ = ["LoopStep", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep:
    """One turn of the closed loop: the plan's predicted and measured latency per backend, as ratios to dense."""

    widths: dict[str, int]
    predicted: dict[str, float]
    measured: dict[str, Ratio]
    correction: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many and which units of every group stay, and how good the solver knows that choice to be.

    ``kept[group]`` lists the indices of the units that stay. ``loss`` is the share of all importance that goes,
    ``gap`` the relative distance of the plan's kept importance to the solver's bound.
    """

    widths: dict[str, int]
    kept: dict[str, tuple[int, ...]]
    loss: float
    gap: float
    predicted_ratio: dict[str, float]
    target_ratio: dict[str, float]
    trail: tuple[LoopStep, ...] = ()
