"""The closed loop: plan on the tables, build, export, time the file, correct the prediction, and plan again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from deployprune.backends.registry import require_backend
from deployprune.pipeline.exporting import SUFFIXES
from deployprune.pipeline.tables import bound_session, export_widths
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.fit import FittedLatency, fit_latency
from deployprune.profiling.measure import compare_until
from deployprune.progress import Task
from deployprune.pruning.planner import plan_widths
from deployprune.records import LatencyTable, LoopStep, Plan, Ratio, Target

__all__ = ["BAND", "close_loop"]

BAND = (0.95, 1.0)
_AIM = (0.962, 0.985)  # inside the band by what a measurement of the file may be off
_TURNS = 8
_HALF_WIDTH = 0.006
_SECONDS = 12.0

Importance = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _Loop:
    bench: Workbench
    models: Mapping[str, FittedLatency]
    goals: Mapping[str, float]
    importance: Importance
    channel_step: int
    dense: Mapping[str, Path]

    def plan(self, correction: Mapping[str, float]) -> Plan:
        widths = self.bench.analysis.record.dense_widths()
        limits = {}
        for key, goal in self.goals.items():
            budget = goal * self.models[key].predict_ms(widths)
            limits[key] = (budget * _AIM[0], budget * _AIM[1])
        return plan_widths(
            self.bench.groups,
            self.importance,
            self.models,
            limits,
            correction=correction,
            channel_step=self.channel_step,
        )

    def measure(self, widths: dict[str, int], seed: int) -> dict[str, Ratio]:
        formats = sorted({require_backend(target.backend).format for target in self.bench.targets})
        with TemporaryDirectory(prefix="deployprune-candidate-") as folder:
            stem = Path(folder) / "candidate"
            export_widths(self.bench, widths, stem, formats)
            return {target_key(target): self._compare(target, stem, seed) for target in self.bench.targets}

    def _compare(self, target: Target, stem: Path, seed: int) -> Ratio:
        backend = require_backend(target.backend)
        paths = {"dense": self.dense[target_key(target)], "candidate": stem.with_suffix(SUFFIXES[backend.format])}
        with ExitStack() as stack:
            sessions = {
                role: stack.enter_context(bound_session(backend, path, target, seed)) for role, path in paths.items()
            }
            measured = compare_until(
                sessions,
                "dense",
                half_width=_HALF_WIDTH,
                min_rounds=30,
                max_rounds=1000,
                budget_s=_SECONDS,
                seed=seed,
            )
        return measured["candidate"][1]


def close_loop(
    bench: Workbench,
    tables: Mapping[str, LatencyTable],
    goals: Mapping[str, float],
    importance: Importance,
    dense: Mapping[str, Path],
    task: Task,
) -> Plan:
    """The plan whose exported file was measured within 95 to 100 % of every goal, or the nearest that was found.

    ``goals`` are ratios to dense by target key, ``dense`` the dense files. Where two targets cannot both be used up to
    their budget, none is exceeded. Raises UnsupportedModelError for a goal below what pruning can reach.
    """
    analysis = bench.analysis.record
    models = {key: fit_latency(table, analysis) for key, table in tables.items()}
    step = max(table.channel_step for table in tables.values())
    loop = _Loop(bench, models, goals, importance, step, dense)
    correction = dict.fromkeys(goals, 1.0)
    trail: list[LoopStep] = []
    plans: list[Plan] = []
    for turn in range(_TURNS):
        task.update(turn / _TURNS, note=f"plan {turn + 1}")
        plan = loop.plan(correction)
        task.update((turn + 0.3) / _TURNS, note=f"timing plan {turn + 1}")
        measured = loop.measure(plan.widths, bench.config.seed + turn)
        plans.append(plan)
        trail.append(
            LoopStep(widths=plan.widths, predicted=plan.predicted_ratio, measured=measured, correction=dict(correction))
        )
        if all(_lands(measured[key], goal) for key, goal in goals.items()):
            break
        for key, ratio in measured.items():
            correction[key] *= ratio.value / plan.predicted_ratio[key]
    best = min(range(len(trail)), key=lambda index: _misses(trail[index], goals))
    return replace(plans[best], target_ratio=dict(goals), trail=tuple(trail))


def _lands(ratio: Ratio, goal: float) -> bool:
    """Whether the whole interval lies in the band."""
    return ratio.low >= BAND[0] * goal and ratio.high <= BAND[1] * goal


def _misses(step: LoopStep, goals: Mapping[str, float]) -> tuple[int, float]:
    """How many goals are exceeded, then how far the measured ratios are from the middle of the band."""
    over = sum(step.measured[key].high > goal * BAND[1] for key, goal in goals.items())
    middle = sum(_AIM) / 2
    return over, max(abs(step.measured[key].value / goal - middle) for key, goal in goals.items())
