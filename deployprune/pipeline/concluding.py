"""The last steps of a run: the files that ship, and the verdict on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployprune.export.artifact import artifact_files
from deployprune.pipeline.limits import check_limits
from deployprune.pipeline.run import RECOVERED_WEIGHTS, Run
from deployprune.pipeline.verifying import Contender, verify_targets
from deployprune.pipeline.weights import count_parameters
from deployprune.progress import Task
from deployprune.records import LatencyTable, Plan, Verdict, VerificationRecord
from deployprune.steps import (
    ANALYSIS,
    DENSE,
    EXPORT,
    PLAN,
    RECOVERY,
    UNSTRUCTURED,
    VERIFICATION,
    ExportRecord,
    Step,
)
from deployprune.units import format_share

__all__ = ["export_candidate", "ship_dense", "verify"]

_SHIPPED = "export/model"


def export_candidate(run: Run) -> None:
    """Write the recovered model in every format, each file proven equal to eager."""
    files = [run.path(RECOVERED_WEIGHTS)]
    run.step("Exporting", EXPORT, lambda task: run.export(run.candidate(), _SHIPPED), [PLAN, RECOVERY], files)


def verify(run: Run, tables: Mapping[str, LatencyTable], plan: Plan) -> VerificationRecord:
    """Time dense, candidate and twin in the same rounds, measure their accuracy and memory, and judge."""
    contenders = _contenders(run, plan)
    root = run.directory.root

    def judge(task: Task) -> VerificationRecord:
        record = verify_targets(run.bench, contenders, tables, plan, root, task)
        task.finish(record.verdict.value)
        return record

    twin: list[Step[Any]] = [UNSTRUCTURED] if run.directory.has(UNSTRUCTURED) else []
    shipped = [root / artifact.path for contender in contenders for artifact in contender.export.artifacts]
    files = [file for path in shipped for file in artifact_files(path)]
    return run.step("Verifying the files", VERIFICATION, judge, [DENSE, EXPORT, PLAN, *twin], files)


def ship_dense(run: Run, goals: Mapping[str, float]) -> VerificationRecord:
    """The budget is met already: the dense model is what ships, and nothing is pruned."""

    def conclude(task: Task) -> VerificationRecord:
        slack = ", ".join(f"{key}: {format_share(1 / goal, 0)} of the budget" for key, goal in goals.items())
        reason = f"the dense model meets the target already ({slack}); it is exported as it is"
        task.finish(reason)
        counts = _contender("dense", dense, parameters, parameters, run.bench.analysis.record.macs).counts
        limits = check_limits(run.config, counts, counts)
        return VerificationRecord(targets=(), verdict=Verdict.PASS, reason=reason, already_met=True, limits=limits)

    dense, parameters = run.directory.read(DENSE), count_parameters(run.bench.module)
    title = "Exporting the dense model to ship"
    run.step(title, EXPORT, lambda task: run.export(run.bench.module, _SHIPPED), [DENSE])
    return run.step("Comparing with the target", VERIFICATION, conclude, [DENSE, EXPORT])


def _contenders(run: Run, plan: Plan) -> list[Contender]:
    directory = run.directory
    analysis, twin = directory.read(ANALYSIS), directory.find(UNSTRUCTURED)
    dense, candidate = count_parameters(run.bench.module), count_parameters(run.candidate())
    found = [
        _contender("dense", directory.read(DENSE), dense, dense, analysis.macs),
        _contender("candidate", directory.read(EXPORT), candidate, candidate, analysis.macs_at(plan.widths)),
    ]
    if twin is not None and twin.export is not None:
        found.append(_contender("unstructured", twin.export, dense, twin.nonzero_parameters, analysis.macs))
    return found


def _contender(role: str, export: ExportRecord, parameters: int, nonzero: int, macs: int) -> Contender:
    return Contender(role=role, export=export, parameters=parameters, nonzero_parameters=nonzero, macs=macs)
