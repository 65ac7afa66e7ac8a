"""The tables' latency models, bent to the plans that were timed so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployprune.pipeline.trials import Problem, Trial, nearest_trial
from deployprune.profiling.fit import FittedLatency, fit_latency
from deployprune.profiling.local import anchor_latency
from deployprune.records import VariantRun

__all__ = ["bend_models", "fit_models", "scale_models"]


def fit_models(problem: Problem, trials: Sequence[Trial]) -> dict[str, FittedLatency]:
    """The tables' models, with the plans timed so far as further runs; nodes are matched in those that have all."""
    whole = [trial for trial in trials if all(trial.plan.widths.values())]
    return {
        key: fit_latency(replace(table, runs=(*table.runs, *_runs(problem, key, whole))), problem.analysis)
        for key, table in problem.tables.items()
    }


def bend_models(
    problem: Problem, fitted: Mapping[str, FittedLatency], trials: Sequence[Trial]
) -> Mapping[str, FittedLatency]:
    """The models through the trial nearest to the goals, and as near to the others as slopes allow."""
    if not trials:
        return fitted
    nearest = nearest_trial(trials, problem.goals)
    others = [trial for trial in trials if trial is not nearest]
    bent = {}
    for key, model in fitted.items():
        anchor, *rest = [(run.widths, run.total_ms) for run in _runs(problem, key, [nearest, *others])]
        bent[key] = anchor_latency(model, anchor, rest, problem.channel_step)
    return bent


def scale_models(problem: Problem, fitted: Mapping[str, FittedLatency], trial: Trial) -> Mapping[str, FittedLatency]:
    """The models scaled to go through one trial."""
    runs = {key: _runs(problem, key, [trial])[0] for key in fitted}
    return {key: anchor_latency(model, (runs[key].widths, runs[key].total_ms), ()) for key, model in fitted.items()}


def _runs(problem: Problem, key: str, trials: Sequence[Trial]) -> list[VariantRun]:
    dense_ms = problem.dense_ms(key)
    timed = [(trial.plan.widths, trial.timed[key]) for trial in trials]
    return [VariantRun(widths=w, total_ms=item.ratio.value * dense_ms, nodes=item.nodes) for w, item in timed]
