"""The order of the steps of a run, and nothing else: each leaves its record, and none is done twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deployprune.config import Config, require_target
from deployprune.host import describe_host
from deployprune.pipeline.exporting import artifact_path, export_files
from deployprune.pipeline.planning import close_loop
from deployprune.pipeline.recovering import eager_accuracy, recover, score_units, unstructured_twin
from deployprune.pipeline.tables import Variants, measure_table, variant_files
from deployprune.pipeline.targets import goal_ratios, target_key
from deployprune.pipeline.verifying import Contender, verify_targets
from deployprune.pipeline.weights import read_weights, write_weights
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Observer, Task
from deployprune.records import (
    AccuracyResult,
    Analysis,
    LatencyTable,
    Plan,
    PrunedRecord,
    Target,
    Verdict,
    VerificationRecord,
)
from deployprune.rundir import RunDirectory
from deployprune.steps import (
    ANALYSIS,
    DENSE,
    EXPORT,
    HOST,
    MODEL,
    PLAN,
    PRUNED,
    RECOVERY,
    UNSTRUCTURED,
    VERIFICATION,
    ExportRecord,
    LoadedRecord,
    RecoveryRecord,
    Step,
    SurgeryRecord,
    UnstructuredRecord,
    table_step,
)
from deployprune.units import format_count, format_ms

__all__ = ["Run"]

T = TypeVar("T")
PRUNED_WEIGHTS = "weights/pruned.safetensors"
RECOVERED_WEIGHTS = "weights/recovered.safetensors"
TWIN_WEIGHTS = "weights/unstructured.safetensors"


class Run:
    """One run's steps over its directory. Every step reads what it needs from earlier records and files alone."""

    def __init__(self, config: Config, run: RunDirectory, observer: Observer) -> None:
        self._config = config
        self._run = run
        self._observer = observer
        self._bench = Workbench(config, observer)

    def compress(self) -> VerificationRecord:
        """All steps, from the model to the verdict. Raises the errors of each."""
        require_target(self._config)
        self._prepare()
        tables = self.measure_tables()
        goals = goal_ratios(self._config, tables, list(tables))
        if min(goals.values()) >= 1.0:
            return self._ship_dense(goals)
        plan = self._plan(tables, {key: min(goal, 1.0) for key, goal in goals.items()})
        self._prune(plan)
        self._recover(plan)
        self._make_twin()
        self._export()
        return self._verify(tables, plan)

    def measure_tables(self) -> dict[str, LatencyTable]:
        """The latency table of every target."""
        self._prepare()
        missing = [t for t in self._bench.targets if not self._run.has(table_step(target_key(t)))]
        if not missing:
            return {target_key(t): self._table(t, None) for t in self._bench.targets}
        with variant_files(self._bench, self._config.table.variants) as variants:
            return {target_key(t): self._table(t, variants) for t in self._bench.targets}

    # ------------------------------------------------------------------------------------------------------ the steps

    def _prepare(self) -> None:
        self._step("Describing the machine", HOST, lambda task: describe_host())
        self._step("Loading the model", MODEL, self._load, files=self._sources())
        self._step("Finding channel groups", ANALYSIS, self._analyze, inputs=[MODEL])
        self._step(
            "Exporting the dense model", DENSE, lambda task: self._write(self._bench.module, "dense/dense"), [MODEL]
        )

    def _load(self, task: Task) -> LoadedRecord:
        record = LoadedRecord(model=self._bench.reference, inputs=self._bench.specs)
        task.finish(f"{record.model.kind} from {record.model.source}")
        return record

    def _analyze(self, task: Task) -> Analysis:
        record = self._bench.analysis.record
        share = record.prunable_parameters / record.parameters
        task.finish(f"{len(record.groups)} channel groups, {share:.0%} of the parameters can be pruned")
        return record

    def _table(self, target: Target, variants: Variants | None) -> LatencyTable:
        def measure(task: Task) -> LatencyTable:
            if variants is None:
                raise AssertionError("a table that is there is not measured")
            table = measure_table(variants, target, task)
            task.finish(
                f"{len(table.runs)} variants, dense {format_ms(table.runs[0].total_ms)}, channel step "
                f"{table.channel_step}, noise {table.noise:.1%}, {table.seconds:.0f} s"
            )
            return table

        key = target_key(target)
        return self._step(f"Measuring the latency table of {key}", table_step(key), measure, [ANALYSIS, DENSE])

    def _plan(self, tables: Mapping[str, LatencyTable], goals: Mapping[str, float]) -> Plan:
        def close(task: Task) -> Plan:
            plan = close_loop(self._bench, tables, goals, self._importance, self._dense_paths(), task)
            task.finish(f"{len(plan.trail)} plans timed, {plan.loss:.1%} of the importance goes")
            return plan

        steps: list[Step[Any]] = [ANALYSIS, DENSE, *(table_step(key) for key in tables)]
        return self._step("Planning widths and timing the plans", PLAN, close, steps)

    def _prune(self, plan: Plan) -> None:
        def cut(task: Task) -> SurgeryRecord:
            pruned = self._bench.analysis.prune(plan.kept, seed=self._config.seed)
            digest = write_weights(pruned.module, self._run.path(PRUNED_WEIGHTS))
            record = PrunedRecord(
                model=self._bench.reference,
                inputs=self._bench.specs,
                kept=pruned.kept,
                attributes=dict(pruned.attributes),
                product=pruned.proof.product,
                weights_sha256=digest,
            )
            task.finish(f"proven to {pruned.proof.relative_difference:.1e}, {pruned.proof.product} module")
            self._write(pruned.module, "pruned/pruned")
            return SurgeryRecord(pruned=record, proof=pruned.proof)

        self._step("Pruning, with proof and a dry export", PRUNED, cut, [MODEL, PLAN])

    def _recover(self, plan: Plan) -> None:
        def train(task: Task) -> RecoveryRecord:
            bench = self._bench
            student, training = recover(bench, plan.kept, self._importance, self._run.path("weights"), task)
            digest = write_weights(student, self._run.path(RECOVERED_WEIGHTS))
            record = RecoveryRecord(
                training=training,
                dense=eager_accuracy(bench, bench.module),
                candidate=eager_accuracy(bench, student),
                weights_sha256=digest,
            )
            task.finish(_told_accuracy(record.dense, record.candidate))
            return record

        self._step("Recovering accuracy", RECOVERY, train, [PLAN, PRUNED], [self._run.path(PRUNED_WEIGHTS)])

    def _make_twin(self) -> None:
        if not self._config.verification.unstructured:
            return

        def make(task: Task) -> UnstructuredRecord:
            nonzero = _parameters(self._candidate())
            made = unstructured_twin(self._bench, nonzero, self._run.path("weights"), task)
            if made is None:
                return UnstructuredRecord(nonzero_parameters=nonzero, training=None, accuracy=None)
            twin, training = made
            record = UnstructuredRecord(
                nonzero_parameters=nonzero,
                training=training,
                accuracy=eager_accuracy(self._bench, twin),
                export=self._write(twin, "unstructured/unstructured"),
                weights_sha256=write_weights(twin, self._run.path(TWIN_WEIGHTS)),
            )
            task.finish(f"{format_count(nonzero)} of {format_count(_parameters(twin))} parameters are not zero")
            return record

        files = [self._run.path(RECOVERED_WEIGHTS)]
        self._step("Making the unstructured twin", UNSTRUCTURED, make, [RECOVERY], files)

    def _export(self) -> None:
        files = [self._run.path(RECOVERED_WEIGHTS)]
        self._step(
            "Exporting", EXPORT, lambda task: self._write(self._candidate(), "export/model"), [PLAN, RECOVERY], files
        )

    def _verify(self, tables: Mapping[str, LatencyTable], plan: Plan) -> VerificationRecord:
        twin = self._run.find(UNSTRUCTURED)
        steps: list[Step[Any]] = [DENSE, EXPORT, PLAN, *([UNSTRUCTURED] if twin else [])]

        def verify(task: Task) -> VerificationRecord:
            record = verify_targets(self._bench, self._contenders(plan, twin), tables, plan, self._run.root, task)
            task.finish(record.verdict.value)
            return record

        return self._step("Verifying the files", VERIFICATION, verify, steps)

    def _ship_dense(self, goals: Mapping[str, float]) -> VerificationRecord:
        """The budget is met already: the dense model is what ships, and nothing is pruned."""

        def conclude(task: Task) -> VerificationRecord:
            slack = ", ".join(f"{key}: {1 / goal:.0%} of the budget" for key, goal in goals.items())
            reason = f"the dense model meets the target already ({slack}); it is exported as it is"
            task.finish(reason)
            return VerificationRecord(targets=(), verdict=Verdict.PASS, reason=reason, already_met=True)

        self._step(
            "Exporting the dense model to ship",
            EXPORT,
            lambda task: self._write(self._bench.module, "export/model"),
            [DENSE],
        )
        return self._step("Comparing with the target", VERIFICATION, conclude, [DENSE, EXPORT])

    # ---------------------------------------------------------------------------------------------------- what they use

    @cached_property
    def _importance(self) -> dict[str, NDArray[np.float64]]:
        return score_units(self._bench)

    def _candidate(self) -> nn.Module:
        """The recovered model, from the plan and the weights file."""
        kept = self._run.read(PLAN).kept
        module = self._bench.analysis.rebuild(kept, self._run.read(PRUNED).pruned.product)
        read_weights(module, self._run.path(RECOVERED_WEIGHTS))
        return module

    def _contenders(self, plan: Plan, twin: UnstructuredRecord | None) -> list[Contender]:
        analysis = self._run.read(ANALYSIS)
        dense, candidate = _parameters(self._bench.module), _parameters(self._candidate())
        found = [
            _contender("dense", self._run.read(DENSE), dense, dense, analysis.macs),
            _contender("candidate", self._run.read(EXPORT), candidate, candidate, analysis.macs_at(plan.widths)),
        ]
        if twin is not None and twin.export is not None:
            found.append(_contender("unstructured", twin.export, dense, twin.nonzero_parameters, analysis.macs))
        return found

    def _dense_paths(self) -> dict[str, Path]:
        export = self._run.read(DENSE)
        return {target_key(t): artifact_path(export, self._run.root, t) for t in self._bench.targets}

    def _write(self, module: nn.Module, stem: str) -> ExportRecord:
        bench, run = self._bench, self._run
        batch = self._config.target.batch if self._config.export.static else None
        return export_files(
            module, bench.specs, bench.examples(batch), run.root, run.path(stem), bench.targets, self._config
        )

    def _sources(self) -> list[Path]:
        source = self._config.model.source
        return [Path(source)] if source and Path(source).is_file() else []

    def _step(
        self,
        title: str,
        step: Step[T],
        compute: Callable[[Task], T],
        inputs: Sequence[Step[Any]] = (),
        files: Sequence[Path] = (),
    ) -> T:
        def observed() -> T:
            with self._observer.step(title) as task:
                return compute(task)

        return self._run.step(step, observed, inputs=inputs, files=files)


def _contender(role: str, export: ExportRecord, parameters: int, nonzero: int, macs: int) -> Contender:
    return Contender(role=role, export=export, parameters=parameters, nonzero_parameters=nonzero, macs=macs)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _told_accuracy(dense: AccuracyResult | None, candidate: AccuracyResult | None) -> str:
    if dense is None or candidate is None:
        return "accuracy: NOT MEASURED"
    return f"{candidate.metric} {candidate.value:.2%}, dense {dense.value:.2%}"
