"""The steps that make the candidate: its widths, the cut with its proof, recovery, and the twin to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployprune.pipeline.planning import close_loop
from deployprune.pipeline.recovering import eager_accuracy, recover, unstructured_twin
from deployprune.pipeline.run import RECOVERED_WEIGHTS, Run
from deployprune.pipeline.weights import count_parameters, write_weights
from deployprune.progress import Task
from deployprune.records import AccuracyResult, LatencyTable, Plan, PrunedRecord
from deployprune.steps import (
    ANALYSIS,
    DENSE,
    MODEL,
    PLAN,
    PRUNED,
    RECOVERY,
    UNSTRUCTURED,
    RecoveryRecord,
    Step,
    SurgeryRecord,
    UnstructuredRecord,
    table_step,
)
from deployprune.units import format_count, format_share

__all__ = ["decide_widths", "make_twin", "prune", "recover_accuracy"]

_PRUNED_WEIGHTS = "weights/pruned.safetensors"
_TWIN_WEIGHTS = "weights/unstructured.safetensors"


def decide_widths(run: Run, tables: Mapping[str, LatencyTable], goals: Mapping[str, float]) -> Plan:
    """The plan whose file was measured to meet ``goals``, the ratios to dense by target key."""

    def close(task: Task) -> Plan:
        plan = close_loop(
            run.bench,
            tables,
            goals,
            run.importance(),
            run.dense_paths(),
            folder=run.directory.root,
            task=task,
            ceilings=run.ceilings(),
        )
        task.finish(f"{len(plan.trail)} plans timed, {format_share(plan.loss)} of the importance goes")
        for key, share in plan.used.items():
            if share.high > 1.0:
                told = f"{format_share(share.value)} [{format_share(share.low)}, {format_share(share.high)}]"
                run.bench.observer.warning(
                    f"no plan was clearly within the budget: this one takes {told} of it on {key}"
                )
        return plan

    steps: list[Step[Any]] = [ANALYSIS, DENSE, *(table_step(key) for key in tables)]
    return run.step("Planning widths and timing the plans", PLAN, close, steps)


def prune(run: Run, plan: Plan) -> None:
    """Cut the model to the plan, prove the cut, and export it once before time is spent on recovery."""

    def cut(task: Task) -> SurgeryRecord:
        pruned = run.bench.analysis.prune(plan.kept, seed=run.config.seed)
        record = PrunedRecord(
            model=run.bench.reference,
            inputs=run.bench.specs,
            kept=pruned.kept,
            attributes=dict(pruned.attributes),
            product=pruned.proof.product,
            grafted=pruned.proof.grafted,
            weights_sha256=write_weights(pruned.module, run.path(_PRUNED_WEIGHTS)),
        )
        task.finish(f"proven to {pruned.proof.relative_difference:.1e}, {pruned.proof.product} module")
        run.export(pruned.module, "pruned/pruned")
        return SurgeryRecord(pruned=record, proof=pruned.proof)

    run.step("Pruning, with proof and a dry export", PRUNED, cut, [MODEL, PLAN])


def recover_accuracy(run: Run, plan: Plan) -> None:
    """Train the pruned model, distilling from the dense one, and keep its weights."""

    def train(task: Task) -> RecoveryRecord:
        bench = run.bench
        student, training = recover(bench, plan.kept, run.importance, run.path("weights"), task)
        record = RecoveryRecord(
            training=training,
            dense=eager_accuracy(bench, bench.module),
            candidate=eager_accuracy(bench, student),
            weights_sha256=write_weights(student, run.path(RECOVERED_WEIGHTS)),
        )
        task.finish(_told_accuracy(record.dense, record.candidate))
        return record

    run.step("Recovering accuracy", RECOVERY, train, [PLAN, PRUNED], [run.path(_PRUNED_WEIGHTS)])


def make_twin(run: Run) -> None:
    """Zero as many weights of the dense model as the candidate lost, with the same recovery; unless switched off."""
    if not run.config.verification.unstructured:
        return

    def make(task: Task) -> UnstructuredRecord:
        nonzero = count_parameters(run.candidate())
        recovery = run.directory.read(RECOVERY).training
        made = unstructured_twin(run.bench, nonzero, recovery, run.path("weights"), task)
        if made is None:
            return UnstructuredRecord(nonzero_parameters=nonzero, training=None, accuracy=None)
        twin, training = made
        record = UnstructuredRecord(
            nonzero_parameters=nonzero,
            training=training,
            accuracy=eager_accuracy(run.bench, twin),
            export=run.export(twin, "unstructured/unstructured", sparse=True),
            weights_sha256=write_weights(twin, run.path(_TWIN_WEIGHTS)),
        )
        task.finish(f"{format_count(nonzero)} of {format_count(count_parameters(twin))} parameters are not zero")
        return record

    run.step("Making the unstructured twin", UNSTRUCTURED, make, [RECOVERY], [run.path(RECOVERED_WEIGHTS)])


def _told_accuracy(dense: AccuracyResult | None, candidate: AccuracyResult | None) -> str:
    if dense is None or candidate is None:
        return "accuracy: NOT MEASURED"
    return f"{candidate.metric} {format_share(candidate.value, 2)}, dense {format_share(dense.value, 2)}"
