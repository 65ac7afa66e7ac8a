"""The end of a run: every file timed against dense in the same rounds, its accuracy, its memory, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployprune.backends.registry import device_of
from deployprune.pipeline.cards import measured_accuracy
from deployprune.pipeline.exporting import artifact_path
from deployprune.pipeline.judging import conclude, judge_target
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Task
from deployprune.records import LatencyTable, ModelCard, ParityResult, Plan, Target, VerificationRecord
from deployprune.steps import ExportRecord

__all__ = ["Contender", "verify_targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One side of the comparison: its files, and how much it holds and computes."""

    role: str
    export: ExportRecord
    parameters: int
    nonzero_parameters: int
    macs: int


def verify_targets(
    bench: Workbench,
    contenders: Sequence[Contender],
    tables: Mapping[str, LatencyTable],
    plan: Plan,
    root: Path,
    task: Task,
) -> VerificationRecord:
    """Measure all contenders (the first is dense) on every target, and judge the candidate on each."""
    results = []
    for index, target in enumerate(bench.targets):
        task.update(index / len(bench.targets), note=target.backend)
        paths = {contender.role: artifact_path(contender.export, root, target) for contender in contenders}
        cards = [_card(bench, contender, target, paths[contender.role], root) for contender in contenders]
        task.update((index + 0.5) / len(bench.targets), note=f"{target.backend}: timing the files in turns")
        key = target_key(target)
        reference, goal = tables[key].runs[0].total_ms, plan.target_ratio[key]
        results.append(judge_target(bench.config, target, paths, cards, reference_ms=reference, goal=goal))
    return conclude(results)


def _card(bench: Workbench, contender: Contender, target: Target, path: Path, root: Path) -> ModelCard:
    name = path.relative_to(root).as_posix()
    return ModelCard(
        role=contender.role,
        artifact=next(artifact for artifact in contender.export.artifacts if artifact.path == name),
        parameters=contender.parameters,
        nonzero_parameters=contender.nonzero_parameters,
        macs=contender.macs,
        peak_memory_bytes=device_of(target.device).peak_memory_bytes(path, target),
        parity=_parity(contender.export, name, target),
        accuracy=measured_accuracy(bench, path, target),
    )


def _parity(export: ExportRecord, name: str, target: Target) -> ParityResult:
    return next(
        item
        for item in export.parity
        if item.artifact == name and item.backend == target.backend and item.target in (target, None)
    )
