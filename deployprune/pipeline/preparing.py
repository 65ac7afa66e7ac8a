"""The first steps of a run: everything that is known before anything is decided."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployprune.backends.registry import backend_of
from deployprune.errors import RunDirectoryError
from deployprune.host import describe_host
from deployprune.pipeline.fleet import by_device, on_devices
from deployprune.pipeline.reusing import given_tables
from deployprune.pipeline.run import Run
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.variants import Variants, variant_files
from deployprune.progress import Task
from deployprune.records import Analysis, LatencyTable, Target
from deployprune.steps import ANALYSIS, DENSE, HOST, MODEL, LoadedRecord, table_step
from deployprune.units import format_ms, format_share

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
    targets = run.bench.targets
    recorded = all(run.directory.has(table_step(target_key(target))) for target in targets)
    given = {} if recorded else given_tables(run.bench)
    count, dense = run.config.table.variants, run.dense_files()
    with variant_files(run.bench, count, run.directory.root, dense) as variants:
        if recorded or len(by_device(targets)) == 1:
            return {target_key(target): _measure(run, target, variants, given) for target in targets}
        return _measure_fleet(run, variants, given)


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
    task.finish(f"{len(record.groups)} channel groups, {format_share(share, 0)} of the parameters can be pruned")
    return record


def _measure(run: Run, target: Target, variants: Variants, given: Mapping[str, LatencyTable]) -> LatencyTable:
    key, budget_s = target_key(target), run.config.table.budget_seconds

    def measure(task: Task) -> LatencyTable:
        table = given[key] if key in given else measure_table(variants, target, budget_s, task)
        task.finish(_told(table, is_given=key in given))
        return table

    return run.step(f"Measuring the latency table of {key}", table_step(key), measure, [ANALYSIS, DENSE])


def _measure_fleet(run: Run, variants: Variants, given: Mapping[str, LatencyTable]) -> dict[str, LatencyTable]:
    """The tables of targets on several devices, which measure side by side; each is recorded as soon as it is whole."""
    targets, observer, budget_s = run.bench.targets, run.bench.observer, run.config.table.budget_seconds
    missing = [t for t in targets if target_key(t) not in given and not run.directory.has(table_step(target_key(t)))]
    if missing:
        with observer.step("Exporting the variants that are timed") as task:
            variants.write_all([backend_of(target) for target in missing], task)

    def measure(target: Target, task: Task) -> LatencyTable:
        key = target_key(target)
        is_given = key in given

        def table() -> LatencyTable:
            found = given[key] if is_given else measure_table(variants, target, budget_s, task)
            observer.message(f"latency table of {key}: {_told(found, is_given=is_given)}")
            return found

        return run.directory.step(table_step(key), table, inputs=[ANALYSIS, DENSE])

    with observer.step(f"Measuring {len(targets)} latency tables on {len(by_device(targets))} devices") as task:
        tables = on_devices(targets, measure, task)
    return {target_key(target): table for target, table in tables.items()}


def _told(table: LatencyTable, *, is_given: bool) -> str:
    source = "from a file, " if is_given else ""
    return (
        f"{source}{len(table.runs)} variants, dense {format_ms(table.runs[0].total_ms)}, channel step "
        f"{table.channel_step}, noise {format_share(table.noise)}, {table.seconds:.0f} s"
    )
