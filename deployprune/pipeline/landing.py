"""The closed loop without its machinery: plan, have the plan timed, bend the models to the result, and plan again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.trials import Problem, Timed, Trial
from deployprune.profiling.fit import FittedLatency, fit_latency
from deployprune.profiling.local import anchor_latency
from deployprune.progress import Task
from deployprune.pruning.candidates import Region
from deployprune.pruning.ceilings import SIZE, Ceiling
from deployprune.pruning.planner import plan_gap, plan_widths
from deployprune.records import LoopStep, Plan, VariantRun

__all__ = ["Stopwatch", "land"]

_AIM = (0.962, 0.985)  # inside the band by what another measurement of the same file may say
_WIDER = (0.955, 0.992)
_NEAR, _AROUND = 0.12, 0.25  # of a group's size: how far from the best plan timed the next one is looked for
_FOURS, _SINGLE = 4, 1  # channels: kernels that work on fours are slow off them
_TURNS = 8
_DESCENT = (0.95, 0.9, 0.8)  # what is aimed below in further turns, where all plans of the others exceeded a goal
_REPLAN_S = 10.0


@dataclass(frozen=True, slots=True)
class _Aim:
    """A band in shares of the goals, and how far from a known plan, on which step of channels, to look for it."""

    low: float
    high: float
    reach: float | None
    finest: int = _FOURS


_AIMS = (  # tried in turn
    _Aim(*_AIM, _NEAR),
    _Aim(*_AIM, _AROUND),
    _Aim(*_AIM, None),
    _Aim(*_WIDER, _AROUND),
    _Aim(*_AIM, _AROUND, _SINGLE),
    _Aim(*_WIDER, _AROUND, _SINGLE),
)

Stopwatch = Callable[[dict[str, int], int], Mapping[str, Timed]]
"""Times widths on all targets; the second argument is the number of the turn."""


def land(problem: Problem, stopwatch: Stopwatch, task: Task) -> Plan:
    """Plan until a plan was measured within 95 to 100 % of every goal: the best plan that was timed, with the trail.

    After the first, plans are looked for near the best one so far, by models that are exact there. Where the goals
    cannot all be used up at once, none is exceeded, and the one that binds is used up. No widths are timed twice.
    Raises UnsupportedModelError for goals that no widths reach.
    """
    goals, trials = problem.goals, list[Trial]()
    schedule = [_AIMS] * _TURNS + [(_Aim(0.0, share, None),) for share in _DESCENT]
    for turn, aims in enumerate(schedule):
        if turn >= _TURNS and not all(trial.exceeds(goals) for trial in trials):
            break
        task.update(turn / len(schedule), note=f"plan {turn + 1}")
        trial = _turn(problem, trials, stopwatch, aims, task)
        if trial is None:
            break
        trials.append(trial)
        if trial.lands(goals):
            break
    best = min(trials, key=lambda trial: (trial.exceeds(goals), not trial.lands(goals), trial.miss(goals)))
    return replace(
        best.plan,
        gap=_gap(problem, trials, best),
        predicted_ratio=best.step.predicted,
        target_ratio=dict(goals),
        trail=tuple(trial.step for trial in trials),
    )


def _turn(
    problem: Problem, trials: Sequence[Trial], stopwatch: Stopwatch, aims: Sequence[_Aim], task: Task
) -> Trial | None:
    """Plan and time once; None where no other widths are left to try."""
    fitted = _fit(problem, trials)
    models = _bend(problem, fitted, trials)
    try:
        plan = _plan(problem, models, trials, aims)
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


def _measured(ceiling: Ceiling, widths: Mapping[str, int], timed: Mapping[str, Timed]) -> float:
    """What a plan needs of a ceiling: of a file's size, what its file has."""
    sizes = [item.file_bytes for item in timed.values() if item.file_bytes is not None]
    return sizes[0] if ceiling.name == SIZE and sizes else ceiling.count(widths)


def _ceilings(problem: Problem, trials: Sequence[Trial]) -> list[Ceiling]:
    """The ceilings, with the size that the last plan's file had."""
    if not trials:
        return list(problem.ceilings)
    return [ceiling.calibrated(trials[-1].plan.widths, count) for ceiling, count in trials[-1].counts]


def _fit(problem: Problem, trials: Sequence[Trial]) -> dict[str, FittedLatency]:
    """The tables' models, with the plans timed so far as further runs; nodes are matched in those that have all."""
    whole = [trial for trial in trials if all(trial.plan.widths.values())]
    return {
        key: fit_latency(replace(table, runs=(*table.runs, *_runs(problem, key, whole))), problem.analysis)
        for key, table in problem.tables.items()
    }


def _runs(problem: Problem, key: str, trials: Sequence[Trial]) -> list[VariantRun]:
    dense_ms = problem.dense_ms(key)
    timed = [(trial.plan.widths, trial.timed[key]) for trial in trials]
    return [VariantRun(widths=w, total_ms=item.ratio.value * dense_ms, nodes=item.nodes) for w, item in timed]


def _bend(
    problem: Problem, fitted: Mapping[str, FittedLatency], trials: Sequence[Trial]
) -> Mapping[str, FittedLatency]:
    """The models through the best plan so far, and as near to the others as slopes allow."""
    if not trials:
        return fitted
    best = _best(problem, trials)
    others = [trial for trial in trials if trial is not best]
    bent = {}
    for key, model in fitted.items():
        anchor, *rest = [(run.widths, run.total_ms) for run in _runs(problem, key, [best, *others])]
        bent[key] = anchor_latency(model, anchor, rest, problem.channel_step)
    return bent


def _best(problem: Problem, trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.miss(problem.goals))


def _plan(problem: Problem, models: Mapping[str, FittedLatency], trials: Sequence[Trial], aims: Sequence[_Aim]) -> Plan:
    """The plan that reaches the first of the aims that any does; or else the one of least loss below an aim.

    Raises UnsupportedModelError where no widths are below any.
    """
    centre = _best(problem, trials).plan.widths if trials else None
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
        if all(models[key].predict_ms(plan.widths) >= low for key, (low, _) in problem.limits(aim.low, 1.0).items()):
            return plan
        if any(ceiling.is_used_up(ceiling.count(plan.widths)) for ceiling in _ceilings(problem, trials)):
            return plan
        plans.append(plan)
        centre = centre or plan.widths
    if not plans:
        raise refused or UnsupportedModelError("there is nothing to prune")
    return min(plans, key=lambda plan: plan.loss)


def _plan_aim(
    problem: Problem,
    models: Mapping[str, FittedLatency],
    trials: Sequence[Trial],
    aim: _Aim,
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
        ceilings=_ceilings(problem, trials),
    )


def _gap(problem: Problem, trials: Sequence[Trial], best: Trial) -> float:
    """How far the importance that the best trial keeps may lie below that of any widths as fast as was aimed at."""
    fitted = _fit(problem, trials)
    scaled = {
        key: anchor_latency(fitted[key], (best.plan.widths, best.timed[key].ratio.value * problem.dense_ms(key)), ())
        for key in fitted
    }
    return plan_gap(
        best.plan.widths,
        problem.groups,
        problem.importance,
        scaled,
        {key: high for key, (_, high) in problem.limits(*_AIM).items()},
        channel_step=problem.channel_step,
        ceilings=_ceilings(problem, trials),
    )
