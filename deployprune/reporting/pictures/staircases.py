"""Latency against width, one panel a kind of layer: the steps, and the cliff off the alignment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deployprune.device.records import DeviceTable, Staircase, Sweep
from deployprune.reporting.device import alignment_words, step_words
from deployprune.reporting.pictures.style import ACCENT, FAINT, INK, MUTED, WARM, head, plain
from deployprune.reporting.wording import format_target

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_staircases"]

_COLUMNS = 4
_PANEL = (3.1, 2.25)  # inches
_TOP, _BOTTOM = 1.25, 0.55
_WIDEST = 100  # channels shown; what is wider only fits the law


def draw_staircases(table: DeviceTable) -> Figure:
    """One panel for every kind of layer: its most detailed sweep."""
    from matplotlib.figure import Figure

    sweeps = _most_detailed(table)
    rows = math.ceil(len(sweeps) / _COLUMNS)
    height = _TOP + _BOTTOM + rows * _PANEL[1]
    figure = Figure(figsize=(_COLUMNS * _PANEL[0], height))
    grid = figure.add_gridspec(
        rows,
        _COLUMNS,
        left=0.045,
        right=0.985,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        hspace=0.62,
        wspace=0.26,
    )
    for index, sweep in enumerate(sweeps):
        axes = figure.add_subplot(grid[index // _COLUMNS, index % _COLUMNS])
        _panel(axes, table, sweep, last=index + _COLUMNS >= len(sweeps))
    head(
        figure,
        f"Latency against width: {step_words(table).partition(':')[0]}",
        f"{table.host.cpu} · {format_target(table.target)} · ms by channels · "
        f"filled: on the alignment, hollow: off it; lines: the law that was learned",
    )
    return figure


def _most_detailed(table: DeviceTable) -> list[Sweep]:
    chosen: dict[str, Sweep] = {}
    for sweep in table.sweeps:
        best = chosen.get(sweep.definition.layer)
        if best is None or len(sweep.cells) > len(best.cells):
            chosen[sweep.definition.layer] = sweep
    return list(chosen.values())


def _panel(axes: Axes, table: DeviceTable, sweep: Sweep, *, last: bool) -> None:
    points = {width: ms for width, ms in table.points(sweep).items() if width <= _WIDEST}
    law = sweep.law
    plain(axes, grid=None)
    for width in range(0, _WIDEST + 1, 16):
        axes.axvline(width, color=FAINT, linewidth=0.8, zorder=0)
    if law is not None:
        _draw_law(axes, law, min(points), max(points))
    aligned = law.alignment if law is not None else 1
    on = {width: ms for width, ms in points.items() if width % aligned == 0}
    off = {width: ms for width, ms in points.items() if width % aligned}
    axes.plot(list(on), list(on.values()), "o", color=ACCENT, markersize=4, zorder=3)
    axes.plot(list(off), list(off.values()), "o", color=WARM, markersize=4, markerfacecolor="white", zorder=3)
    axes.set_ylim(0, 1.12 * max(points.values(), default=1.0))
    axes.set_xlim(12, _WIDEST)
    axes.set_xticks(range(16, _WIDEST + 1, 16))
    axes.locator_params(axis="y", nbins=4)
    axes.set_title(sweep.definition.layer, loc="left", fontweight="bold", color=INK, pad=20, fontsize=10.5)
    axes.text(0, 1.06, _where(sweep), transform=axes.transAxes, color=MUTED, fontsize=8.5)
    words = alignment_words(law)
    if words:
        axes.text(1, 1.06, words, transform=axes.transAxes, color=WARM, fontsize=8.5, ha="right", fontweight="bold")
    if last:
        axes.set_xlabel("channels")


def _where(sweep: Sweep) -> str:
    definition = sweep.definition
    unit = definition.unit.replace("channels of a", "per")  # the cliff's words stand on the same line
    return definition.place if unit == "channels" else f"{definition.place}, {unit}"


def _draw_law(axes: Axes, law: Staircase, first: int, last: int) -> None:
    """The law on the alignment as stairs, and the one off it, where there is one."""
    for line, color, style in ((law.aligned, ACCENT, "-"), (law.unaligned, WARM, (0, (3, 2)))):
        if color == WARM and law.alignment == 1:
            continue
        edges = [first, *range(first // law.step * law.step, last, law.step)[1:], last]  # the last width of every step
        values = [line[0] + line[1] * (-(-width // law.step) * law.step) for width in edges]
        shape = "steps-pre" if law.step > 1 else "default"
        axes.plot(edges, values, color=color, linewidth=1.3, linestyle=style, drawstyle=shape, alpha=0.65, zorder=2)
