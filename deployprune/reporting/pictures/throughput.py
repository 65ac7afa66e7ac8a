"""How near every layer comes to the machine's measured peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployprune.device.records import DeviceTable
from deployprune.reporting.device import MIDDLE, throughputs
from deployprune.reporting.pictures.style import FAINT, INK, MUTED, PALETTE, head, plain
from deployprune.reporting.wording import format_target
from deployprune.units import format_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_throughput"]

_ROW = 0.24  # inches
_TOP, _BOTTOM = 1.05, 0.5


def draw_throughput(table: DeviceTable) -> Figure:
    """One bar a layer, GMAC/s, kinds together and fastest first."""
    from matplotlib.figure import Figure

    peak = table.peak_gmacs
    kinds: dict[str, list[tuple[str, float]]] = {}
    for sweep, _, gmacs in throughputs(table):
        if gmacs:
            kinds.setdefault(sweep.definition.kind, []).append((sweep.definition.name, gmacs))
    ordered = sorted(kinds.items(), key=lambda item: -max(value for _, value in item[1]))
    bars = [(kind, *bar) for kind, found in ordered for bar in sorted(found, key=lambda bar: -bar[1])]
    height = _TOP + _BOTTOM + _ROW * len(bars)
    figure = Figure(figsize=(8.6, height))
    axes = figure.add_axes((0.27, _BOTTOM / height, 0.66, 1 - (_TOP + _BOTTOM) / height))
    plain(axes, grid="x")
    axes.spines["left"].set_visible(False)
    colors = {kind: PALETTE[index % len(PALETTE)] for index, (kind, _) in enumerate(ordered)}
    axes.barh(range(len(bars)), [peak] * len(bars), color=FAINT, height=0.62)
    axes.barh(range(len(bars)), [bar[2] for bar in bars], color=[colors[bar[0]] for bar in bars], height=0.62)
    for row, (_, _, gmacs) in enumerate(bars):
        axes.text(peak * 1.015, row, format_share(gmacs / peak, 0), va="center", color=MUTED, fontsize=8.5)
    axes.set_yticks(range(len(bars)), [bar[1] for bar in bars], color=INK, fontsize=8.5)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, peak)
    axes.set_xlabel("GMAC/s")
    subtitle = f"{table.host.cpu} · {format_target(table.target)} · layers at {MIDDLE} channels"
    head(figure, f"Throughput against the measured peak of {peak:.0f} GMAC/s", subtitle)
    return figure
