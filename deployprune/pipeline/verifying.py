"""The end of a run: every file timed against dense in the same rounds, its accuracy, its memory, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployprune.backends.registry import require_backend
from deployprune.pipeline.cards import accuracy_drop, measured_accuracy
from deployprune.pipeline.exporting import artifact_path
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Task
from deployprune.records import (
    AccuracyResult,
    LatencyTable,
    ModelCard,
    ParityResult,
    Plan,
    Target,
    VerificationRecord,
    Verified,
)
from deployprune.steps import ExportRecord
from deployprune.verification.budget import combine, judge
from deployprune.verification.memory import peak_memory_bytes
from deployprune.verification.speedup import verify_latency

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
        results.append(_verify_target(bench, contenders, tables[target_key(target)], plan, target, root))
    verdict = combine(result.verdict for result in results)
    deciding = next(result for result in results if result.verdict is verdict)
    return VerificationRecord(
        targets=tuple(results), verdict=verdict, reason=f"{deciding.target.backend}: {deciding.reason}"
    )


def _verify_target(
    bench: Workbench,
    contenders: Sequence[Contender],
    table: LatencyTable,
    plan: Plan,
    target: Target,
    root: Path,
) -> Verified:
    backend, config = require_backend(target.backend), bench.config
    reference, goal = table.runs[0].total_ms, plan.target_ratio[target_key(target)]
    paths = {contender.role: artifact_path(contender.export, root, target) for contender in contenders}
    comparisons, control, drift = verify_latency(
        backend,
        target,
        paths,
        reference,
        goal,
        seed=config.seed,
        budget_s=config.verification.budget_seconds,
    )
    cards = tuple(
        _card(contender, target, paths[contender.role], root, measured_accuracy(bench, paths[contender.role], target))
        for contender in contenders
    )
    verdict, reason = judge(
        comparisons["candidate"].ratio,
        goal,
        control,
        accuracy_drop=accuracy_drop(cards),
        max_accuracy_drop=config.target.max_accuracy_drop,
    )
    return Verified(
        target=target,
        cards=cards,
        comparisons=tuple(comparisons.values()),
        control=control,
        reference_ms=reference,
        target_ms=goal * reference,
        drift=drift,
        verdict=verdict,
        reason=reason,
    )


def _card(contender: Contender, target: Target, path: Path, root: Path, accuracy: AccuracyResult | None) -> ModelCard:
    name = path.relative_to(root).as_posix()
    return ModelCard(
        role=contender.role,
        artifact=next(artifact for artifact in contender.export.artifacts if artifact.path == name),
        parameters=contender.parameters,
        nonzero_parameters=contender.nonzero_parameters,
        macs=contender.macs,
        peak_memory_bytes=peak_memory_bytes(target.backend, path, target),
        parity=_parity(contender.export, name, target),
        accuracy=accuracy,
    )


def _parity(export: ExportRecord, name: str, target: Target) -> ParityResult:
    return next(item for item in export.parity if item.artifact == name and item.backend == target.backend)
