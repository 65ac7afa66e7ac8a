"""What a run ran on and with: latency tables, files, host, settings, and the command that does it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployprune.backends.devices.address import LOCAL
from deployprune.command_line import command_line
from deployprune.records import Host, LatencyTable, ParityResult, Target
from deployprune.records.naming import label_targets
from deployprune.reporting.view import RunView
from deployprune.reporting.wording import format_target
from deployprune.rundir import CONFIG_FILE
from deployprune.units import format_bytes, format_ms, format_share

__all__ = ["TABLE_COLUMNS", "command", "file_rows", "host_rows", "machine_rows", "model_rows", "table_rows"]

TABLE_COLUMNS = ("target", "dense p50", "noise", "step", "variants", "error, 90 %", "took")


def table_rows(tables: Mapping[str, LatencyTable]) -> tuple[tuple[str, ...], ...]:
    """One row a latency table, in the order of :data:`TABLE_COLUMNS`."""
    return tuple(
        (
            format_target(table.target),
            format_ms(table.runs[0].total_ms) if table.runs else "",
            format_share(table.noise),
            str(table.channel_step),
            str(len(table.runs)),
            "" if table.interval is None else format_share(table.interval),
            f"{table.seconds:.0f} s",
        )
        for table in tables.values()
    )


def file_rows(view: RunView) -> tuple[tuple[str, ...], ...]:
    """One row an exported file: path, size, hash, and how near its outputs are to eager."""
    export = view.export or view.dense
    if export is None:
        return ()
    return tuple(
        (file.path, format_bytes(file.size_bytes), file.sha256[:12], _parities(export.parity, file.path))
        for file in export.artifacts
    )


def _parities(results: Sequence[ParityResult], path: str) -> str:
    labels = label_targets(result.target for result in results if result.target)
    return "; ".join(_parity(result, labels) for result in results if result.artifact == path) or "not compared"


def _parity(result: ParityResult, labels: Mapping[Target, str]) -> str:
    limit = "" if result.ok else f", ABOVE {result.tolerance:.0e}"
    where = labels[result.target] if result.target else result.backend
    return f"{result.max_relative:.1e} from eager on {where}{limit}"


def model_rows(view: RunView) -> tuple[tuple[str, str], ...]:
    """What was loaded, and with which inputs."""
    if view.loaded is None:
        return ()
    model = view.loaded.model
    inputs = ", ".join(f"{spec.name} {'x'.join(map(str, spec.shape))} {spec.dtype}" for spec in view.loaded.inputs)
    trusted = " (pickle trusted: it could run code)" if model.trusted_pickle else ""
    source = f"{model.source} ({model.kind}{f', {model.arch}' if model.arch else ''}){trusted}"
    hashed = (("sha256", model.sha256[:16]),) if model.sha256 else ()
    return (("model", source), *hashed, ("inputs", inputs))


def machine_rows(view: RunView) -> tuple[tuple[str, str], ...]:
    """The machine that the run was made on, and first those that files were timed on, where they are others."""
    tables = {table.target.device: table for table in view.tables.values()}
    here = tables.pop(LOCAL, None)
    if not tables:
        return host_rows(view.host)
    boards = [row for device, table in tables.items() for row in (("timed on", device), *host_rows(table.host))]
    made = "this machine" if here is None else "this machine, and timed on it too"
    return (*boards, ("made on", made), *host_rows(view.host))


def host_rows(host: Host | None) -> tuple[tuple[str, str], ...]:
    """The machine and the versions on it."""
    if host is None:
        return ()
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    return (
        ("cpu", f"{host.cpu}, {host.cores} cores, {', '.join(host.isa) or 'no known extensions'}"),
        ("memory", format_bytes(host.memory_bytes)),
        ("governor", host.governor),
        ("system", f"{host.os}, Python {host.python}"),
        ("versions", versions),
    )


def command(view: RunView) -> str:
    """The command that does the run again, on one line."""
    name = "compress" if view.config.has_budget else "profile"
    return " ".join(command_line(view.config, name, view.root / CONFIG_FILE))
