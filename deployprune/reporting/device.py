"""The pages of ``profile`` without a model: what a device is good at, and whether a table of it still holds."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from deployprune.device.layers import Definition
from deployprune.device.records import DeviceCheck, DeviceTable, Staircase, Sweep, quiet_ms
from deployprune.reporting.layout import STYLES, grid, title
from deployprune.reporting.wording import format_target
from deployprune.units import format_ms, format_share

__all__ = ["MIDDLE", "alignment_words", "render_check", "render_device", "step_words", "throughputs"]

MIDDLE = 64  # channels at which layers are compared
_DISTURBED = 0.2  # drift above which the figures are to be doubted
_LAYERS = ("layer", "ms", "GMAC/s", "peak", "at 63", "at 65", "cliff")


def render_device(table: DeviceTable) -> RenderableType:
    """The device in a few lines, then every layer at 64 channels, then how threads scale."""
    parts: list[RenderableType] = [title(f"{table.host.cpu} · {format_target(table.target)}")]
    parts.extend(Padding(Text(line), (0, 0, 0, 2)) for line in _summary(table))
    parts.append(title(f"Layers at {MIDDLE} channels, and with one fewer and one more"))
    parts.append(grid(_layer_rows(table), header=_LAYERS))
    counts = sorted({run.threads for run in table.threads})
    if len(counts) > 1:
        parts.append(title("Threads"))
        header = ("layer", *(f"{count} threads" if count > 1 else "1 thread" for count in counts))
        parts.append(grid(_thread_rows(table, counts), header=header))
    return Group(*parts)


def render_check(check: DeviceCheck) -> RenderableType:
    """The verdict, and every layer that was measured again."""
    style = STYLES[check.verdict]
    rows = [
        (
            cell.definition.layer,
            cell.definition.place,
            format_ms(cell.table_ms),
            format_ms(cell.now_ms),
            f"{cell.ratio.value:.2f} [{cell.ratio.low:.2f}, {cell.ratio.high:.2f}]",
        )
        for cell in check.cells
    ]
    return Group(
        Padding(Text.assemble((f" {check.verdict} ", f"bold reverse {style}"), "  ", check.reason), (1, 0)),
        grid(rows, header=("layer", "input", "table", "now", "against the others")),
    )


def throughputs(table: DeviceTable) -> list[tuple[Sweep, float, float]]:
    """Every sweep that has the middle width, with its ms there and its GMAC/s (0 where nothing is multiplied)."""
    found = []
    for sweep in table.sweeps:
        ms = table.points(sweep).get(MIDDLE)
        if ms is not None:
            found.append((sweep, ms, table.gmacs(sweep.definition, MIDDLE, ms)))
    return found


def alignment_words(law: Staircase | None) -> str:
    """What a width off the alignment costs: ``7.2x off 4``; empty where there is no cliff."""
    if law is None or law.alignment == 1:
        return ""
    return f"{_more(1.0 + law.cliff(MIDDLE))} off {law.alignment}"


def step_words(table: DeviceTable) -> str:
    """The channel step in words."""
    if not any(sweep.law for sweep in table.sweeps):
        return "channel step unknown: too few widths were measured"
    step = table.channel_step
    return f"channel step {step}: latency climbs every {step} channels" if step > 1 else "no channel step was found"


def _summary(table: DeviceTable) -> Iterator[str]:
    yield step_words(table)
    worst = max((s.law for s in table.sweeps if s.law), key=lambda law: law.cliff(MIDDLE), default=None)
    if alignment_words(worst):
        name = next(s.definition.name for s in table.sweeps if s.law is worst)
        yield f"deepest cliff: {alignment_words(worst)} channels, {name}"
    yield f"measured peak {table.peak_gmacs:.1f} GMAC/s"
    cells = sum(len(sweep.cells) for sweep in table.sweeps)
    short = "" if cells >= table.planned_cells else "; a longer --budget-seconds measures all"
    yield (
        f"noise {format_share(table.noise)}, drift {format_share(table.drift)}, "
        f"{cells} of {table.planned_cells} cells in {table.seconds:.0f} s{short}"
    )
    if table.drift > _DISTURBED:
        yield "other work disturbed this measurement: take it again on a quieter machine"


def _layer_rows(table: DeviceTable) -> Iterator[tuple[str, ...]]:
    """Layers of one kind together, in the order of the suite."""
    found = throughputs(table)
    kinds = list(dict.fromkeys(sweep.definition.layer for sweep, _, _ in found))
    for sweep, ms, gmacs in sorted(found, key=lambda entry: kinds.index(entry[0].definition.layer)):
        points = table.points(sweep)
        yield (
            _short(sweep.definition),
            format_ms(ms).removesuffix(" ms"),
            f"{gmacs:.1f}" if gmacs else "",
            format_share(gmacs / table.peak_gmacs, 0) if gmacs else "",
            *(_more(points[width] / ms) if width in points else "" for width in (MIDDLE - 1, MIDDLE + 1)),
            alignment_words(sweep.law),
        )


def _short(definition: Definition) -> str:
    return f"{definition.layer} at {definition.size}"


def _more(factor: float) -> str:
    return f"{factor:.1f}x" if factor >= 2.0 else f"{round(100 * (factor - 1.0)):+d} %"


def _thread_rows(table: DeviceTable, counts: list[int]) -> Iterator[tuple[str, ...]]:
    best: dict[str, dict[int, float]] = {}
    for run in table.threads:
        times = best.setdefault(_short(run.definition), {})
        ms = quiet_ms(run.samples_ms)
        times[run.threads] = min(ms, times.get(run.threads, ms))
    for name, times in best.items():
        one = times[counts[0]]
        yield (
            name,
            *(f"{format_ms(times[c])}{'' if c == counts[0] else f' ({one / times[c]:.2f}x)'}" for c in counts),
        )
