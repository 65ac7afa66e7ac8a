"""The small pages of ``inspect``, ``profile`` and ``devices`` for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from deployprune.records import Analysis, DeviceSurvey, LatencyTable
from deployprune.reporting import prunable, setup
from deployprune.reporting.layout import emphasised, grid, section, title
from deployprune.reporting.wording import NOT_MEASURED, format_target
from deployprune.units import format_ms, format_share

__all__ = ["render_analysis", "render_devices", "render_tables"]


def render_analysis(analysis: Analysis) -> RenderableType:
    """A model's channel groups with their share of the work, what a pruned model is, and what stays whole and why."""
    parts: list[RenderableType] = [Padding(Text(prunable.summary_line(analysis), style="bold"), (1, 0))]
    if analysis.groups:
        parts.append(grid(prunable.group_rows(analysis), header=prunable.GROUP_COLUMNS))
        parts.append(Padding(Text(prunable.SHARE_NOTE, style="dim"), (1, 0, 0, 2)))
    parts.extend(section("Pruned model", prunable.product_lines(analysis)) if analysis.product else ())
    parts.extend(section("Frozen", prunable.frozen_lines(analysis.frozen) or ["nothing: every operation has a rule"]))
    parts.extend(section("Stays whole", prunable.held_lines(analysis.held) or ["nothing"]))
    return Group(*parts)


def render_tables(tables: Mapping[str, LatencyTable], layers: int) -> RenderableType:
    """Latency tables in one line each, then the ``layers`` slowest nodes of the dense model on every target."""
    parts: list[RenderableType] = [title("Latency tables"), grid(setup.table_rows(tables), header=setup.TABLE_COLUMNS)]
    for table in tables.values():
        parts.extend(_slowest(table, layers))
    parts.extend((Text(), emphasised(f"accuracy: {NOT_MEASURED}")))
    return Group(*parts)


def _slowest(table: LatencyTable, count: int) -> Iterator[RenderableType]:
    nodes = sorted(table.runs[0].nodes, key=lambda node: -node.ms)[:count] if table.runs else []
    if not nodes:
        return
    whole = sum(node.ms for node in table.runs[0].nodes)
    yield title(f"Slowest nodes on {format_target(table.target)}")
    rows = [
        (node.name, node.kind, format_ms(node.ms), format_share(node.ms / whole), " ".join(map(_shape, node.outputs)))
        for node in nodes
    ]
    yield grid(rows, header=("node", "kind", "time", "share", "output"))


def render_devices(surveys: Sequence[DeviceSurvey]) -> RenderableType:
    """Every device: its backends, installed or not, and the machine; or why it cannot be reached."""
    return Group(*(part for survey in surveys for part in _device(survey)))


def _device(survey: DeviceSurvey) -> Iterator[RenderableType]:
    yield title("This machine" if survey.device == "local" else survey.device)
    if survey.problem is not None:
        yield grid([("problem", survey.problem), *([("hint", survey.hint)] if survey.hint else [])])
    if survey.backends:
        rows = [
            (backend.name, "ready" if backend.available else "missing", backend.version or "", backend.hint or "")
            for backend in survey.backends
        ]
        yield grid(rows, header=("backend", "state", "version", "install with"))
        yield Text()
    machine = list(setup.host_rows(survey.host))
    if survey.temperature_c is not None:
        machine.append(("temperature", f"{survey.temperature_c:.0f} °C"))
    if machine:
        yield grid(machine)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
