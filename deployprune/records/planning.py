"""The plan: which units stay, and how the closed loop came to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployprune.records.measurement import Ratio

__all__ = ["LoopStep", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep:
    """One turn of the closed loop: the plan's predicted and measured latency per backend, as ratios to dense.

    ``measured`` is over all sittings that speak of the plan, and ``sittings`` how many they are: its own, and those of
    the plan that it was first timed beside.
    """

    widths: dict[str, int]
    predicted: dict[str, float]
    measured: dict[str, Ratio]
    correction: dict[str, float]
    sittings: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many and which units of every group stay, and how good the solver knows that choice to be.

    ``kept[group]`` lists the indices of the units that stay. ``loss`` is the share of all importance that goes: what
    stays is the weighted geometric mean of the groups' shares, for layers stand in series. ``gap`` is the relative
    distance of that to the solver's bound. ``interval`` is the relative error within which each target's table predicts
    nine of ten plans, where it is known; it is that of the trail's first step, for later ones are predicted by models
    that go through the plans before them.
    """

    widths: dict[str, int]
    kept: dict[str, tuple[int, ...]]
    loss: float
    gap: float
    predicted_ratio: dict[str, float]
    target_ratio: dict[str, float]
    trail: tuple[LoopStep, ...] = ()
    interval: dict[str, float] = field(default_factory=dict)

    @property
    def used(self) -> dict[str, Ratio]:
        """The share of each target's budget that these widths were measured to take; empty without a trail."""
        measured = next((step.measured for step in reversed(self.trail) if step.widths == self.widths), {})
        return {key: ratio.over(self.target_ratio[key]) for key, ratio in measured.items()}
