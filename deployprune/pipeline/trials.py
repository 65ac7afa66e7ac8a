"""What the closed loop works on: the problem, and the plans that were timed so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.ceilings import Ceiling
from deployprune.records import (
    Analysis,
    ChannelGroup,
    LatencyTable,
    LoopStep,
    NodeTime,
    Plan,
    Ratio,
)

__all__ = ["BAND", "Problem", "Timed", "Trial"]

BAND = (0.95, 1.0)  # of a goal: where the whole interval of a measured ratio is to lie
_MARGIN = 0.005  # of a goal, from the band's ends: what the same file opened again may differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What a target says of a plan: its latency as a ratio to dense, and its nodes' times (none where not timed).

    ``file_bytes`` is the size of the plan's ONNX file, None where there is none.
    """

    ratio: Ratio
    nodes: tuple[NodeTime, ...] = ()
    file_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is planned: groups and their importance, and for each target a latency table and a goal (ratio to dense).

    ``ceilings`` are the limits beside latency.
    """

    analysis: Analysis
    groups: Sequence[ChannelGroup]
    importance: Mapping[str, NDArray[np.float64]]
    tables: Mapping[str, LatencyTable]
    goals: Mapping[str, float]
    ceilings: Sequence[Ceiling] = ()

    @property
    def channel_step(self) -> int:
        """The coarsest of the targets' steps: on it, all of them are aligned."""
        return max(table.channel_step for table in self.tables.values())

    def dense_ms(self, key: str) -> float:
        """The dense latency that a target's table is on the scale of."""
        return self.tables[key].runs[0].total_ms

    def limits(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """A band, given in shares of the goals, in ms by target."""
        budgets = {key: goal * self.dense_ms(key) for key, goal in self.goals.items()}
        return {key: (low * budget, high * budget) for key, budget in budgets.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan that was timed, and the turn that it took; ``counts`` are what it needs of each ceiling."""

    plan: Plan
    step: LoopStep
    timed: Mapping[str, Timed]
    counts: Sequence[tuple[Ceiling, float]] = ()

    def shares(self, goals: Mapping[str, float]) -> list[Ratio]:
        """The measured ratios as shares of the goals."""
        pairs = [(timed.ratio, goals[key]) for key, timed in self.timed.items()]
        return [Ratio(value=r.value / goal, low=r.low / goal, high=r.high / goal) for r, goal in pairs]

    def exceeds(self, goals: Mapping[str, float]) -> bool:
        """Whether a goal may be exceeded, or a ceiling is."""
        above = any(count > ceiling.limit for ceiling, count in self.counts)
        return above or any(share.high > BAND[1] for share in self.shares(goals))

    @property
    def is_held(self) -> bool:
        """Whether a ceiling is used up, so that no goal has to be."""
        return any(ceiling.is_used_up(count) for ceiling, count in self.counts)

    def lands(self, goals: Mapping[str, float]) -> bool:
        """Whether every interval lies in the band; where the plan was not meant to reach it on all targets, the one
        nearest to its goal; and where a ceiling is used up, below the band's end."""
        shares = self.shares(goals)
        reached = all(ratio >= BAND[0] * goals[key] for key, ratio in self.step.predicted.items())
        inside = self.is_held or (all if reached else any)(_safe(share) for share in shares)
        return inside and not self.exceeds(goals) and all(share.value <= BAND[1] - _MARGIN for share in shares)

    def miss(self, goals: Mapping[str, float]) -> float:
        """How far the worst target is from the middle of the band, in shares of its goal."""
        middle = sum(BAND) / 2
        return max(abs(share.value - middle) for share in self.shares(goals))


def _safe(share: Ratio) -> bool:
    return share.low >= BAND[0] and share.value >= BAND[0] + _MARGIN
