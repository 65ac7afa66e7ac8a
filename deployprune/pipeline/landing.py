"""The closed loop without its machinery: plan, have the plan timed, bend the models to the result, and plan again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.aiming import AIM, AIMS, Aim, calibrated_ceilings, plan_next
from deployprune.pipeline.bending import bend_models, fit_models, scale_models
from deployprune.pipeline.trials import Problem, Timed, Trial
from deployprune.profiling.fit import FittedLatency
from deployprune.progress import Task
from deployprune.pruning.ceilings import SIZE, Ceiling
from deployprune.pruning.planner import plan_gap
from deployprune.records import LoopStep, Plan

__all__ = ["Stopwatch", "land"]

_TURNS = 8
_DESCENT = (0.95, 0.9, 0.8)  # what is aimed below in further turns, where all plans of the others exceeded a goal

Stopwatch = Callable[[dict[str, int], int], Mapping[str, Timed]]
"""Times widths on all targets; the second argument is the number of the turn."""


def land(problem: Problem, stopwatch: Stopwatch, task: Task) -> Plan:
    """Plan until a plan was measured within 95 to 100 % of every goal: the best plan that was timed, with the trail.

    After the first, plans are looked for near the best one so far, by models that are exact there. Where the goals
    cannot all be used up at once, none is exceeded, and the one that binds is used up. No widths are timed twice.
    Raises UnsupportedModelError for goals that no widths reach.
    """
    goals, trials = problem.goals, list[Trial]()
    schedule = [AIMS] * _TURNS + [(Aim(0.0, share, None),) for share in _DESCENT]
    for turn, aims in enumerate(schedule):
        if turn >= _TURNS and not all(trial.exceeds(goals) for trial in trials):
            break
        task.update(turn / len(schedule), note=f"plan {turn + 1}")
        trial = _turn(problem, trials, stopwatch, aims, task)
        if trial is None:
            break
        trials.append(trial)
        if trial.lands(goals) or trial.binds(goals):
            break
    best = min(trials, key=lambda trial: _rank(trial, goals))
    return replace(
        best.plan,
        gap=_gap(problem, trials, best),
        predicted_ratio=best.step.predicted,
        target_ratio=dict(goals),
        interval={key: table.interval for key, table in problem.tables.items() if table.interval is not None},
        trail=tuple(trial.step for trial in trials),
    )


def _rank(trial: Trial, goals: Mapping[str, float]) -> tuple[bool, bool, bool, float]:
    return trial.exceeds(goals), not trial.lands(goals), not trial.binds(goals), trial.miss(goals)


def _turn(
    problem: Problem, trials: Sequence[Trial], stopwatch: Stopwatch, aims: Sequence[Aim], task: Task
) -> Trial | None:
    """Plan and time once; None where no other widths are left to try."""
    fitted = fit_models(problem, trials)
    try:
        plan, models = _plan(problem, fitted, trials, aims)
    except UnsupportedModelError:
        if not trials:
            raise
        return None
    task.update((len(trials) + 0.3) / (_TURNS + len(_DESCENT)), note=f"timing plan {len(trials) + 1}")
    timed = stopwatch(plan.widths, len(trials))
    expected = {key: model.predict_ms(plan.widths) for key, model in models.items()}
    step = LoopStep(
        widths=plan.widths,
        predicted={key: ms / problem.dense_ms(key) for key, ms in expected.items()},
        measured={key: item.ratio for key, item in timed.items()},
        correction={key: ms / fitted[key].predict_ms(plan.widths) for key, ms in expected.items()},
    )
    counts = [(ceiling, _measured(ceiling, plan.widths, timed)) for ceiling in problem.ceilings]
    return Trial(plan=plan, step=step, timed=timed, counts=counts)


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
