"""What the closed loop works on: the problem, and the plans that were timed so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.ceilings import Ceiling
from deployprune.records import (
    Analysis,
    ChannelGroup,
    LatencyModel,
    LatencyTable,
    LoopStep,
    NodeTime,
    Plan,
    Ratio,
)
from deployprune.stats import carry_over, ratio_over_sittings

__all__ = ["BAND", "Problem", "Timed", "Trial", "is_far", "is_inside", "nearest_trial"]

BAND = (0.95, 1.0)  # of a goal: where the whole interval of a measured ratio is to lie
_CLEARLY = 0.03  # of a goal, outside the band: enough to know that another plan is needed
_MARGIN = 0.005  # of a goal, from the band's ends: what the same file timed again, a minute later, may differ by
_SAFE = (0.96, 0.98)  # of a goal: nearer to the band's ends, another process may say that the same file is outside


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

    def uses_up(self, models: Mapping[str, LatencyModel], widths: dict[str, int], low: float = BAND[0]) -> bool:
        """Whether the models predict that the widths take at least the share ``low`` of every goal."""
        return all(models[key].predict_ms(widths) >= least for key, (least, _) in self.limits(low, 1.0).items())

    def binds(self, models: Mapping[str, LatencyModel], widths: dict[str, int]) -> bool:
        """Whether the models predict that the widths use a goal up."""
        return any(models[key].predict_ms(widths) >= least for key, (least, _) in self.limits(*BAND).items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A plan that was timed, and the turn that it took; ``counts`` are what it needs of each ceiling.

    The ratios of ``timed`` and ``step`` are over all ``sittings``: what each says of the plan, by target. The plan
    itself was not timed in the first ``carried`` of them.
    """

    plan: Plan
    step: LoopStep
    timed: Mapping[str, Timed]
    counts: Sequence[tuple[Ceiling, float]] = ()
    sittings: tuple[Mapping[str, Ratio], ...] = ()
    carried: int = 0

    def sat(self, *sittings: Mapping[str, Ratio]) -> Trial:
        """The same with further sittings."""
        known = (*self.sittings, *sittings)
        ratios = {key: ratio_over_sittings([sitting[key] for sitting in known]) for key in self.timed}
        return replace(
            self,
            sittings=known,
            timed={key: replace(item, ratio=ratios[key]) for key, item in self.timed.items()},
            step=replace(self.step, measured=ratios, sittings=len(known)),
        )

    def beside(self, other: Trial, ratios: Mapping[str, Ratio]) -> Trial:
        """The same, sat for the first time with ``other``, whose last sitting that was; ``ratios`` are its own.

        The earlier sittings of the other speak of this one too, so that no spell of the machine decides about it.
        """
        last = other.sittings[-1]
        carried = [
            {key: carry_over(sitting[key], ratios[key], last[key]) for key in ratios} for sitting in other.sittings[:-1]
        ]
        return replace(self.sat(*carried, ratios), carried=len(carried))

    def shares(self, goals: Mapping[str, float]) -> list[Ratio]:
        """The measured ratios as shares of the goals."""
        return [timed.ratio.over(goals[key]) for key, timed in self.timed.items()]

    def exceeds(self, goals: Mapping[str, float]) -> bool:
        """Whether a goal may be exceeded, or a ceiling is."""
        above = any(count > ceiling.limit for ceiling, count in self.counts)
        return above or not all(_is_below(share) for share in self.shares(goals))

    @property
    def is_held(self) -> bool:
        """Whether a ceiling is used up, so that no goal has to be."""
        return any(ceiling.is_used_up(count) for ceiling, count in self.counts)

    def lands(self, goals: Mapping[str, float]) -> bool:
        """Whether every interval lies in the band, or below its end where a ceiling is used up."""
        return not self.exceeds(goals) and (self.is_held or all(map(is_inside, self.shares(goals))))

    def binds(self, goals: Mapping[str, float]) -> bool:
        """Whether it uses one goal up and exceeds none: no widths on which that goal allows for more are looked for."""
        return not self.exceeds(goals) and any(map(is_inside, self.shares(goals)))

    def is_meant(self, goals: Mapping[str, float]) -> bool:
        """Whether it was planned to use all goals up."""
        return all(ratio >= BAND[0] * goals[key] for key, ratio in self.step.predicted.items())

    def is_confirmed(self, goals: Mapping[str, float]) -> bool:
        """Whether more than one sitting speaks of it; near a band's end, more than one that timed it itself.

        Spells of the machine cancel in what is carried over from another plan, but what is one process's own does not.
        """
        if any(map(_is_near_end, self.shares(goals))):
            return len(self.sittings) - self.carried > 1
        return len(self.sittings) > 1

    def miss(self, goals: Mapping[str, float]) -> float:
        """How far the worst target is from the middle of the band, in shares of its goal."""
        middle = sum(BAND) / 2
        return max(abs(share.value - middle) for share in self.shares(goals))


def nearest_trial(trials: Sequence[Trial], goals: Mapping[str, float]) -> Trial:
    """The trial that misses the goals least."""
    return min(trials, key=lambda trial: trial.miss(goals))


def is_far(share: Ratio) -> bool:
    """Whether a share's interval is so clearly outside the band that a sitting may end: another turn tells the rest.

    That it is inside ends none: who looks again and again, and stops when it suits, finds it inside too often.
    """
    low, high = BAND
    return share.high < low * (1 - _CLEARLY) or share.low > high * (1 + _CLEARLY)


def is_inside(share: Ratio) -> bool:
    """Whether a share's interval lies in the band, and its value there even if the same file, timed again, differs."""
    return _is_below(share) and share.low >= BAND[0] and share.value >= BAND[0] + _MARGIN


def _is_below(share: Ratio) -> bool:
    return share.high <= BAND[1] and share.value <= BAND[1] - _MARGIN


def _is_near_end(share: Ratio) -> bool:
    return share.value > _SAFE[1] or BAND[0] <= share.value < _SAFE[0]
