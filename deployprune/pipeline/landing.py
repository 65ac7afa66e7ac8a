"""The closed loop without its machinery: plan, have the plan timed, bend the models to the result, and plan again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.aiming import AIM, AIMS, WORTH, Aim, calibrated_ceilings, plan_next
from deployprune.pipeline.bending import bend_models, fit_models, scale_models
from deployprune.pipeline.trials import Problem, Timed, Trial, nearest_trial
from deployprune.profiling.fit import FittedLatency
from deployprune.progress import Task
from deployprune.pruning.ceilings import SIZE, Ceiling
from deployprune.pruning.planner import plan_gap
from deployprune.records import LoopStep, Plan, Ratio

__all__ = ["Stopwatch", "land"]

_TURNS = 8
_PATIENCE = 4  # plans in which all of several goals are to be used up, and not only the one that binds
_DESCENT = (0.95, 0.9, 0.8)  # what is aimed below in further turns, where all plans of the others exceeded a goal

Stopwatch = Callable[[Sequence[dict[str, int]], int], Sequence[Mapping[str, Timed]]]
"""Times one or several widths on all targets, in the same rounds; the second argument is the number of the sitting."""

Sitting = Callable[[Sequence[dict[str, int]]], Sequence[Mapping[str, Timed]]]


def land(problem: Problem, stopwatch: Stopwatch, task: Task) -> Plan:
    """Plan until a plan was measured within 95 to 100 % of every goal: the best plan that was timed, with the trail.

    After the first, plans are looked for near the best one so far, by models that are exact there, and each is timed
    beside that one: in minutes a machine's ratios move by more than a plan is to be told apart by. What one sitting
    says alone is not believed either: a plan that lands at once is timed again, and so is one that lands near an end of
    the band, for a file is up to 2 % faster or slower in another process. Where the goals cannot all be used up
    at once, or not in a few turns, none is exceeded, and the one that binds is used up. A plan that keeps less than one
    that is fast enough is not timed: it would only be slower. No widths are planned twice.
    Raises UnsupportedModelError for goals that no widths reach.
    """
    goals, trials, sittings = problem.goals, list[Trial](), itertools.count()

    def sit(widths: Sequence[dict[str, int]]) -> Sequence[Mapping[str, Timed]]:
        return stopwatch(widths, next(sittings))

    schedule = [AIMS] * _TURNS + [(Aim(0.0, share, None),) for share in _DESCENT]
    for turn, aims in enumerate(schedule):
        if turn >= _TURNS and not all(trial.exceeds(goals) for trial in trials):
            break
        task.update(turn / len(schedule), note=f"plan {turn + 1}")
        found = _turn(problem, trials, sit, aims, task)
        trials = found or trials
        if found and not any(_settles(trial, trials, goals) for trial in trials):
            continue
        if _best(trials, goals).is_confirmed(goals):
            break
        trials = _time_again(_best(trials, goals), trials, sit)
        if _settles(_best(trials, goals), trials, goals):
            break
    best = _best(trials, goals)
    return replace(
        best.plan,
        gap=_gap(problem, trials, best),
        predicted_ratio=best.step.predicted,
        target_ratio=dict(goals),
        interval={key: table.interval for key, table in problem.tables.items() if table.interval is not None},
        trail=tuple(trial.step for trial in trials),
    )


def _best(trials: Sequence[Trial], goals: Mapping[str, float]) -> Trial:
    """The one that keeps most and exceeds no goal, where using all up is worth a little; or else the nearest."""

    def rank(trial: Trial) -> tuple[bool, float]:
        if trial.exceeds(goals):
            return True, trial.miss(goals)
        return False, trial.plan.loss + (0.0 if trial.lands(goals) else WORTH)

    return min(trials, key=rank)


def _settles(trial: Trial, trials: Sequence[Trial], goals: Mapping[str, float]) -> bool:
    """Whether it lands, or uses up the goal that binds, where no more was meant or was to be had in a few turns."""
    return trial.lands(goals) or (trial.binds(goals) and (not trial.is_meant(goals) or len(trials) >= _PATIENCE))


def _time_again(trial: Trial, trials: Sequence[Trial], sit: Sitting) -> list[Trial]:
    (again,) = sit([trial.plan.widths])
    return [each.sat(_ratios(again)) if each is trial else each for each in trials]


def _turn(
    problem: Problem, trials: Sequence[Trial], sit: Sitting, aims: Sequence[Aim], task: Task
) -> list[Trial] | None:
    """Plan, and time the plan beside the nearest trial: all trials; None where no others are worth it."""
    fitted = fit_models(problem, trials)
    try:
        plan, models = _plan(problem, fitted, trials, aims)
    except UnsupportedModelError:
        if not trials:
            raise
        return None
    if not _is_worth_it(problem, models, trials, plan):
        return None
    task.update((len(trials) + 0.3) / (_TURNS + len(_DESCENT)), note=f"timing plan {len(trials) + 1}")
    if not trials:
        (timed,) = sit([plan.widths])
        return [_trial(problem, plan, timed, fitted, models).sat(_ratios(timed))]
    nearest = nearest_trial(trials, problem.goals)
    timed, again = sit([plan.widths, nearest.plan.widths])
    known = nearest.sat(_ratios(again))
    new = _trial(problem, plan, timed, fitted, models).beside(known, _ratios(timed))
    return [*(known if trial is nearest else trial for trial in trials), new]


def _is_worth_it(problem: Problem, models: Mapping[str, FittedLatency], trials: Sequence[Trial], plan: Plan) -> bool:
    """Whether it keeps more than the trials that exceed no goal; hardly less, where it should use all goals up."""
    known = [trial.plan.loss for trial in trials if not trial.exceeds(problem.goals)]
    return not known or plan.loss < min(known) + (WORTH if problem.uses_up(models, plan.widths) else 0.0)


def _trial(
    problem: Problem,
    plan: Plan,
    timed: Mapping[str, Timed],
    fitted: Mapping[str, FittedLatency],
    models: Mapping[str, FittedLatency],
) -> Trial:
    expected = {key: model.predict_ms(plan.widths) for key, model in models.items()}
    step = LoopStep(
        widths=plan.widths,
        predicted={key: ms / problem.dense_ms(key) for key, ms in expected.items()},
        measured=_ratios(timed),
        correction={key: ms / fitted[key].predict_ms(plan.widths) for key, ms in expected.items()},
    )
    counts = [(ceiling, _measured(ceiling, plan.widths, timed)) for ceiling in problem.ceilings]
    return Trial(plan=plan, step=step, timed=timed, counts=counts)


def _ratios(timed: Mapping[str, Timed]) -> dict[str, Ratio]:
    return {key: item.ratio for key, item in timed.items()}


def _plan(
    problem: Problem, fitted: Mapping[str, FittedLatency], trials: Sequence[Trial], aims: Sequence[Aim]
) -> tuple[Plan, Mapping[str, FittedLatency]]:
    """The next plan by the models through the nearest trial; by those that are not bent, where only they see one that
    uses up several goals at once: what one plan's two latencies have of their own is not true of all others."""
    bent = bend_models(problem, fitted, trials)
    plan = plan_next(problem, bent, trials, aims)
    if trials and len(fitted) > 1 and not problem.uses_up(bent, plan.widths):
        other = plan_next(problem, fitted, trials, aims)
        if problem.uses_up(fitted, other.widths):
            return other, fitted
    return plan, bent


def _measured(ceiling: Ceiling, widths: Mapping[str, int], timed: Mapping[str, Timed]) -> float:
    """What a plan needs of a ceiling: of a file's size, what its file has."""
    sizes = [item.file_bytes for item in timed.values() if item.file_bytes is not None]
    return sizes[0] if ceiling.name == SIZE and sizes else ceiling.count(widths)


def _gap(problem: Problem, trials: Sequence[Trial], best: Trial) -> float:
    """How far the importance that the best trial keeps may lie below that of any widths as fast as was aimed at."""
    return plan_gap(
        best.plan.widths,
        problem.groups,
        problem.importance,
        scale_models(problem, fit_models(problem, trials), best),
        {key: high for key, (_, high) in problem.limits(*AIM).items()},
        channel_step=problem.channel_step,
        ceilings=calibrated_ceilings(problem, trials),
    )
