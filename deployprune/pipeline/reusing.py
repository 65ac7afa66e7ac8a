"""Latency tables that were measured before: read from their files, and refused where they do not belong."""

from __future__ import annotations

from pathlib import Path

from deployprune.backends.registry import device_of
from deployprune.device.identity import require_same_device
from deployprune.errors import UsageError
from deployprune.pipeline.table_file import read_latency_table
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.workbench import Workbench
from deployprune.records import LatencyTable

__all__ = ["given_tables"]


def given_tables(bench: Workbench) -> dict[str, LatencyTable]:
    """The configured table files by target key; targets without one are measured.

    Raises UsageError for a file that is no latency table, is of none of the run's targets or of other channel groups,
    and, unless forced, of another device or another model file.
    """
    found = {}
    targets = {target_key(target) for target in bench.targets}
    for name in bench.config.table.files:
        table = read_latency_table(Path(name))
        key = target_key(table.target)
        if key not in targets:
            raise UsageError(
                f"{name} is a table of {key}, and the run is for {', '.join(sorted(targets))}",
                hint="name the table's own backend, threads, precision and batch",
            )
        _require_fit(bench, name, table)
        found[key] = table
    return found


def _require_fit(bench: Workbench, name: str, table: LatencyTable) -> None:
    force = bench.config.table.force
    require_same_device(name, table.host, device_of(table.target.device).host(), table.target.backend, force=force)
    if not table.runs or table.runs[0].widths != bench.analysis.record.dense_widths():
        raise UsageError(f"{name} is of a model with other channel groups", hint="measure this one: drop --profile")
    if table.model_sha256 != (bench.reference.sha256 or "") and not force:
        raise UsageError(
            f"{name} was measured with another model file than {bench.reference.source}",
            hint="with the same layers its latencies hold: use it with --force-profile",
        )
