"""The first steps of a run: everything that is known before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployprune.errors import RunDirectoryError
from deployprune.host import describe_host
from deployprune.pipeline.reusing import given_tables
from deployprune.pipeline.run import Run
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.variants import Variants, variant_files
from deployprune.progress import Task
from deployprune.records import Analysis, LatencyTable, Target
from deployprune.steps import ANALYSIS, DENSE, HOST, MODEL, LoadedRecord, table_step
from deployprune.units import format_ms

__all__ = ["measure_tables", "prepare"]


def prepare(run: Run) -> None:
    """Describe the machine, load the model, find its channel groups and export it as it is.

    Raises the errors of everything that the configuration names, before any time is spent on measuring.
    """
    run.step("Describing the machine", HOST, lambda task: describe_host())
    loaded = run.step("Loading the model", MODEL, lambda task: _load(run, task), files=_model_files(run))
    if loaded.data_sha256 != run.bench.data_sha256:
        raise RunDirectoryError(
            f"the data {run.config.data.source} is not what {run.directory.root} was begun with",
            hint="put the old data back, or start a new run",
        )
    run.step("Finding channel groups", ANALYSIS, lambda task: _analyze(run, task), [MODEL])
    run.step("Exporting the dense model", DENSE, lambda task: run.export(run.bench.module, "dense/dense"), [MODEL])


def measure_tables(run: Run) -> dict[str, LatencyTable]:
    """The latency table of every target, by its key: measured, or of the configured files."""
    recorded = all(run.directory.has(table_step(target_key(target))) for target in run.bench.targets)
    given = {} if recorded else given_tables(run.bench)
    with variant_files(run.bench, run.config.table.variants) as variants:
        return {target_key(target): _measure(run, target, variants, given) for target in run.bench.targets}


def _load(run: Run, task: Task) -> LoadedRecord:
    bench = run.bench
    bench.require_all()
    task.finish(f"{bench.reference.kind} from {bench.reference.source}")
    return LoadedRecord(model=bench.reference, inputs=bench.specs, data_sha256=bench.data_sha256)


def _model_files(run: Run) -> list[Path]:
    source = run.config.model.source
    return [Path(source)] if source and Path(source).is_file() else []


def _analyze(run: Run, task: Task) -> Analysis:
    record = run.bench.analysis.record
    share = record.prunable_parameters / record.parameters
    task.finish(f"{len(record.groups)} channel groups, {share:.0%} of the parameters can be pruned")
    return record


def _measure(run: Run, target: Target, variants: Variants, given: Mapping[str, LatencyTable]) -> LatencyTable:
    key = target_key(target)

    def measure(task: Task) -> LatencyTable:
        table = given[key] if key in given else measure_table(variants, target, task)
        source = "from a file, " if key in given else ""
        task.finish(
            f"{source}{len(table.runs)} variants, dense {format_ms(table.runs[0].total_ms)}, channel step "
            f"{table.channel_step}, noise {table.noise:.1%}, {table.seconds:.0f} s"
        )
        return table

    return run.step(f"Measuring the latency table of {key}", table_step(key), measure, [ANALYSIS, DENSE])
