"""Which widths are timed next: what is aimed at in the goals' bands, and how far from the nearest trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.trials import Problem, Trial, nearest_trial
from deployprune.profiling.fit import FittedLatency
from deployprune.pruning.candidates import Region
from deployprune.pruning.ceilings import Ceiling
from deployprune.pruning.planner import plan_widths
from deployprune.records import Plan

__all__ = ["AIM", "AIMS", "WORTH", "Aim", "calibrated_ceilings", "plan_next"]

AIM = (0.955, 0.978)  # the middle of the band: another measurement of the same file may say 2 % more or less
_WIDER = (0.952, 0.99)
WORTH = 0.01  # of all importance: what using all goals up may cost, instead of only the one that binds
_NEAR, _AROUND = 0.12, 0.25  # of a group's size: how far from the best plan timed the next one is looked for
_FOURS, _SINGLE = 4, 1  # channels: kernels that work on fours are slow off them
_REPLAN_S = 10.0


@dataclass(frozen=True, slots=True)
class Aim:
    """A band in shares of the goals, and how far from a known plan, on which step of channels, to look for it."""

    low: float
    high: float
    reach: float | None
    finest: int = _FOURS


AIMS = (  # tried in turn
    Aim(*AIM, _NEAR),
    Aim(*AIM, _AROUND),
    Aim(*AIM, None),
    Aim(*_WIDER, _AROUND),
    Aim(*AIM, _AROUND, _SINGLE),
    Aim(*_WIDER, _AROUND, _SINGLE),
)


def plan_next(
    problem: Problem, models: Mapping[str, FittedLatency], trials: Sequence[Trial], aims: Sequence[Aim]
) -> Plan:
    """The plan that reaches the first of the aims that any does, unless it keeps clearly less than some widths, however
    far away, that are only fast enough; or else one that keeps about as much as those, the nearest that uses a goal up.

    No widths are planned twice. Raises UnsupportedModelError where no widths are below any aim.
    """
    centre = nearest_trial(trials, problem.goals).plan.widths if trials else None
    plans: list[Plan] = []
    refused: UnsupportedModelError | None = None
    anywhere: list[Plan] = []
    with suppress(UnsupportedModelError):
        anywhere = [_plan_aim(problem, models, trials, replace(aims[0], low=0.0, reach=None), None)]
    for aim in aims:
        if aim.reach is not None and centre is None:
            continue
        try:
            plan = _plan_aim(problem, models, trials, aim, centre)
        except UnsupportedModelError as error:
            refused = error
            continue
        if any(ceiling.is_used_up(ceiling.count(plan.widths)) for ceiling in calibrated_ceilings(problem, trials)):
            return plan
        uses_up = problem.uses_up(models, plan.widths, aim.low)
        if uses_up and all(plan.loss <= other.loss + WORTH for other in anywhere):
            return plan
        if uses_up and len(problem.goals) > 1:
            plan = _plan_aim(problem, models, trials, replace(aim, low=0.0), centre)
        plans.append(plan)
        centre = centre or plan.widths
    if not plans:
        raise refused or UnsupportedModelError("there is nothing to prune")
    return _first_of_least_loss(problem, models, [*plans, *anywhere])


def _first_of_least_loss(problem: Problem, models: Mapping[str, FittedLatency], plans: Sequence[Plan]) -> Plan:
    """Of the plans that keep about as much as any, the first that uses a goal up."""
    least = min(plan.loss for plan in plans)
    good = [plan for plan in plans if plan.loss <= least + WORTH]
    return next((plan for plan in good if problem.binds(models, plan.widths)), good[0])


def calibrated_ceilings(problem: Problem, trials: Sequence[Trial]) -> list[Ceiling]:
    """The ceilings, with the size that the last plan's file had."""
    if not trials:
        return list(problem.ceilings)
    return [ceiling.calibrated(trials[-1].plan.widths, count) for ceiling, count in trials[-1].counts]


def _plan_aim(
    problem: Problem,
    models: Mapping[str, FittedLatency],
    trials: Sequence[Trial],
    aim: Aim,
    centre: Mapping[str, int] | None,
) -> Plan:
    near = aim.reach is not None and centre is not None
    return plan_widths(
        problem.groups,
        problem.importance,
        models,
        problem.limits(aim.low, aim.high),
        channel_step=problem.channel_step,
        time_limit_s=_REPLAN_S if trials else 2 * _REPLAN_S,
        region=Region(centre=centre or {}, reach=aim.reach or 0.0, finest=aim.finest) if near else None,
        avoid=[trial.plan.widths for trial in trials],
        ceilings=calibrated_ceilings(problem, trials),
    )
