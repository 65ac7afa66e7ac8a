"""Widths whose exported file was timed within the budget of every target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from deployprune.backends.base import Backend
from deployprune.backends.registry import backend_of, fresh_backend
from deployprune.export.artifact import artifact_files
from deployprune.export.formats import get_format
from deployprune.files import TEMPORARY_PREFIX
from deployprune.pipeline.fleet import on_devices
from deployprune.pipeline.landing import land
from deployprune.pipeline.node_times import draw_feeds, time_nodes
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.trials import Problem, Timed, is_far
from deployprune.pipeline.variants import export_widths
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.comparing import compare_files
from deployprune.profiling.pacing import Pace
from deployprune.progress import SilentObserver, Task
from deployprune.pruning.ceilings import Ceiling
from deployprune.records import LatencyTable, Measurement, Plan, Ratio, Target

__all__ = ["close_loop"]

_HALF_WIDTH = 0.006
_ROUNDS = (30, 1000)  # at least, at most
_SECONDS = 30.0  # at most, of one plan on one target: what a large model needs for enough blocks


def close_loop(
    bench: Workbench,
    tables: Mapping[str, LatencyTable],
    goals: Mapping[str, float],
    importance: Mapping[str, NDArray[np.float64]],
    dense: Mapping[str, Path],
    folder: Path,
    task: Task,
    ceilings: Sequence[Ceiling] = (),
) -> Plan:
    """The plan whose exported file was measured within 95 to 100 % of every goal, or the nearest that was found.

    ``goals`` are ratios to dense by target key, ``dense`` the dense files, and ``folder`` is where candidates are
    written while they are timed; the configured seconds lie between two timings. Where two targets cannot both be used
    up to their budget, none is exceeded; nor is a ceiling. Raises UnsupportedModelError for a goal or ceiling below
    what pruning can reach.
    """
    problem = Problem(
        analysis=bench.analysis.record,
        groups=bench.groups,
        importance=importance,
        tables=tables,
        goals=goals,
        ceilings=ceilings,
    )

    pace = Pace()

    def stopwatch(plans: Sequence[dict[str, int]], turn: int) -> list[dict[str, Timed]]:
        seed = bench.config.seed + turn

        def compare(target: Target, part: Task) -> list[Timed]:
            key, backend = target_key(target), backend_of(target)
            files = [get_format(backend.format).path(stem) for stem in stems]
            with fresh_backend(target) as fresh:
                measured = _compare(fresh, target, dense[key], files, goals[key], seed)
                part.update(0.8, note="layers of the plan")
                feeds = draw_feeds(dense[key], fresh, target, seed)
                return [
                    Timed(
                        ratio=ratio,
                        nodes=time_nodes(file, fresh, target, feeds, measurement.p50),
                        file_bytes=_size_bytes(get_format("onnx").path(stem)),
                    )
                    for stem, file, (measurement, ratio) in zip(stems, files, measured, strict=True)
                ]

        with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as place, SilentObserver().step("") as unseen:
            stems = [Path(place).resolve() / f"candidate{index}" for index in range(len(plans))]
            formats = sorted({backend_of(target).format for target in bench.targets})
            for stem, widths in zip(stems, plans, strict=True):
                export_widths(bench, widths, stem, formats)
            pace.begin(bench.config.verification.apart_seconds)
            timed = on_devices(bench.targets, compare, unseen)
        return [{target_key(target): items[index] for target, items in timed.items()} for index in range(len(plans))]

    return land(problem, stopwatch, task)


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in artifact_files(path))


def _compare(
    backend: Backend, target: Target, dense: Path, candidates: Sequence[Path], goal: float, seed: int
) -> list[tuple[Measurement, Ratio]]:
    """Time the candidates in the same rounds, until both are known well enough, or the first is far off."""
    paths = {path.stem: path for path in candidates}
    first = candidates[0].stem
    found = compare_files(
        backend,
        target,
        {"dense": dense, **paths},
        "dense",
        half_width=_HALF_WIDTH,
        min_rounds=_ROUNDS[0],
        max_rounds=_ROUNDS[1],
        budget_s=_SECONDS,
        seed=seed,
        decided=lambda ratios: is_far(ratios[first].over(goal)),
    )
    return [found[role] for role in paths]
