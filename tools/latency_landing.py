"""Whether runs end where they were asked to, re-measured in fresh processes; and whether A/A comparisons cry wolf."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from latency_material import Case, Conditions, Subject, print_rows
from timing import ratios_to_dense

from deployprune.backends.registry import backend_of, fresh_backend
from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.planning import close_loop
from deployprune.pipeline.targets import target_key
from deployprune.profiling.pacing import Pace
from deployprune.progress import SilentObserver
from deployprune.pruning.importance import score
from deployprune.records import Ratio, Target
from deployprune.stats import ratio_over_sittings
from deployprune.verification.budget import Difference, tell_apart
from deployprune.verification.speedup import verify_latency

__all__ = ["print_landing", "print_wolf"]

_GOALS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_LAP = 3  # goals further for a case that comes round again
_BAND = (0.95, 1.0)
_SITTINGS, _APART_S = 3, 20.0  # fresh processes, in which no one spell of the machine decides
_SECONDS = 10.0
_GLANCE = 4.0  # seconds of one A/A comparison


def print_landing(conditions: Conditions) -> None:
    """Runs over models and goals, and what processes of their own measure of their results."""
    print(f"### {conditions.runs} runs to a target, measured again in fresh processes\n")
    columns = ("model", "backend", "threads", "goal", "turns", "own", "fresh", "of the goal", "by process", "lands")
    print_rows(columns, _landing(conditions))


def _landing(conditions: Conditions) -> Iterator[list[object]]:
    for case, goals in _share_out(conditions.cases, conditions.runs):
        with conditions.subject(case) as subject:
            for goal in goals:
                yield [*case.cells, goal, *_land(subject, goal)]


def _share_out(cases: Sequence[Case], runs: int) -> list[tuple[Case, list[float]]]:
    """Goals for every case, in turn, until there are ``runs`` of them."""
    shared: list[tuple[Case, list[float]]] = [(case, []) for case in cases]
    for run in range(runs):
        lap, position = divmod(run, len(cases))
        shared[position][1].append(_GOALS[(position + lap * _LAP) % len(_GOALS)])
    return [(case, goals) for case, goals in shared if goals]


def _land(subject: Subject, goal: float) -> list[object]:
    """The cells of one run."""
    bench, key = subject.bench, target_key(subject.target)
    importance = score("l2", bench.module, bench.groups)
    folder = subject.variants.folder / f"goal-{goal}"
    folder.mkdir()
    try:
        with SilentObserver().step("") as task:
            tables = {key: subject.recording.table}
            plan = close_loop(bench, tables, {key: goal}, importance, {key: subject.dense}, folder, task)
    except UnsupportedModelError as error:
        return ["", "", "", "", "", error.message]
    own = next(step.measured[key].value for step in reversed(plan.trail) if step.widths == plan.widths)
    candidate = subject.variants.file(f"plan-{goal}", plan.widths, backend_of(subject.target))
    sittings = _compare_afresh(subject.dense, candidate, subject.target)
    fresh = ratio_over_sittings(sittings)
    share = fresh.value / goal
    lands = "yes" if _BAND[0] <= share <= _BAND[1] else "NO"
    return [
        len(plan.trail),
        f"{own:.3f}",
        f"{fresh.value:.3f} [{fresh.low:.3f}, {fresh.high:.3f}]",
        f"{share:.1%}",
        ", ".join(f"{sitting.value / goal:.1%}" for sitting in sittings),
        lands,
    ]


def _compare_afresh(dense: Path, candidate: Path, target: Target) -> list[Ratio]:
    pace = Pace()
    sittings = []
    for _ in range(_SITTINGS):
        pace.begin(_APART_S)
        sittings.append(ratios_to_dense(target, {"dense": dense, "candidate": candidate}, _SECONDS)["candidate"])
    return sittings


def print_wolf(conditions: Conditions) -> None:
    """Comparisons of a file with itself while another process computes now and then."""
    print(f"### At least {conditions.comparisons} A/A comparisons under background load\n")
    columns = ("model", "backend", "threads", "comparisons", "faster", "slower", "no difference", "median", "largest")
    print_rows(columns, _wolf(conditions))


def _wolf(conditions: Conditions) -> Iterator[list[object]]:
    each = -(-conditions.comparisons // len(conditions.cases))
    for case in conditions.cases:
        load = multiprocessing.get_context("spawn").Process(target=_disturb, daemon=True)
        with conditions.subject(case) as subject:
            dense = subject.dense
            load.start()
            try:
                ratios = [_compare_same(dense, subject.target, seed) for seed in range(each)]
            finally:
                load.terminate()
        shown = Counter(tell_apart(ratio, control) for ratio, control in ratios)
        middle = float(np.median([ratio.value for ratio, _ in ratios]))
        largest = max(abs(ratio.value - 1.0) for ratio, _ in ratios)
        counts = [shown[difference] for difference in Difference]
        yield [*case.cells, len(ratios), *counts, f"{middle:.4f}", f"{largest:.1%}"]


def _compare_same(dense: Path, target: Target, seed: int) -> tuple[Ratio, Ratio]:
    paths = {"dense": dense, "candidate": dense}
    sittings = verify_latency(
        lambda: fresh_backend(target), target, paths, 1.0, 1.0, seed=seed, budget_s=_GLANCE, apart_s=0
    )
    *_, found = sittings
    return found.comparisons["candidate"].ratio, found.control


def _disturb() -> None:
    """Compute for a while, rest for a while."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(256, 256))
    while True:
        until = time.monotonic() + float(rng.uniform(0.02, 0.5))
        while time.monotonic() < until:
            matrix @ matrix
        time.sleep(float(rng.uniform(0.02, 0.5)))
