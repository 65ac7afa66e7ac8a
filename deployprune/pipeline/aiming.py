"""Which widths are timed next: what is aimed at in the goals' bands, and how far from the nearest trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.trials import Problem, Trial, nearest_trial
from deployprune.profiling.fit import FittedLatency
from deployprune.pruning.candidates import Region
from deployprune.pruning.ceilings import Ceiling
from deployprune.pruning.planner import plan_widths
from deployprune.records import Plan

__all__ = ["AIM", "AIMS", "Aim", "calibrated_ceilings", "plan_next"]

AIM = (0.955, 0.978)  # the middle of the band: another measurement of the same file may say 2 % more or less
_WIDER = (0.952, 0.99)
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
    """The plan that reaches the first of the aims that any does; or else the one of least loss below an aim.

    No widths are planned twice. Raises UnsupportedModelError where no widths are below any aim.
    """
    centre = nearest_trial(trials, problem.goals).plan.widths if trials else None
    plans: list[Plan] = []
    refused: UnsupportedModelError | None = None
    for aim in aims:
        if aim.reach is not None and centre is None:
            continue
        try:
            plan = _plan_aim(problem, models, trials, aim, centre)
        except UnsupportedModelError as error:
            refused = error
            continue
        if problem.uses_up(models, plan.widths, aim.low):
            return plan
        if any(ceiling.is_used_up(ceiling.count(plan.widths)) for ceiling in calibrated_ceilings(problem, trials)):
            return plan
        plans.append(plan)
        centre = centre or plan.widths
    if not plans:
        raise refused or UnsupportedModelError("there is nothing to prune")
    return min(plans, key=lambda plan: plan.loss)


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
