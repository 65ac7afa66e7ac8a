"""Where a model's time goes: its slowest nodes as the runtime's own timer saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployprune.records import LatencyTable, NodeTime
from deployprune.reporting.pictures.style import INK, MUTED, PALETTE, head, plain
from deployprune.reporting.wording import format_target
from deployprune.units import format_ms, format_share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_layers"]

_MOST = 30
_ROW = 0.24  # inches
_TOP, _BOTTOM = 1.05, 0.5
_LONGEST = 30  # letters of a node's name


def draw_layers(table: LatencyTable) -> Figure:
    """One bar a node of the dense model, slowest first, coloured by its kind."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    dense = table.runs[0]
    whole = sum(node.ms for node in dense.nodes)
    nodes = sorted(dense.nodes, key=lambda node: -node.ms)[:_MOST]
    height = _TOP + _BOTTOM + _ROW * max(len(nodes), 6)
    figure = Figure(figsize=(9.2, height))
    axes = figure.add_axes((0.34, _BOTTOM / height, 0.58, 1 - (_TOP + _BOTTOM) / height))
    plain(axes, grid="x")
    axes.spines["left"].set_visible(False)
    kinds = list(dict.fromkeys(node.kind for node in nodes))
    colors = {kind: PALETTE[min(index, len(PALETTE) - 1)] for index, kind in enumerate(kinds)}
    axes.barh(range(len(nodes)), [node.ms for node in nodes], color=[colors[node.kind] for node in nodes], height=0.66)
    for row, node in enumerate(nodes):
        axes.text(
            node.ms + 0.01 * nodes[0].ms, row, format_share(node.ms / whole), va="center", color=MUTED, fontsize=8
        )
    axes.set_yticks(range(len(nodes)), [_label(node) for node in nodes], color=INK, fontsize=8.5)
    axes.set_ylim(len(nodes) - 0.4, -0.6)
    axes.set_xlim(0, 1.1 * nodes[0].ms)
    axes.set_xlabel("ms")
    handles = [Patch(color=colors[kind], label=kind) for kind in kinds[: len(PALETTE)]]
    axes.legend(handles=handles, loc="lower right", frameon=False, fontsize=8.5)
    share = format_share(sum(node.ms for node in nodes) / whole)
    shown = f"{len(nodes)} slowest of {len(dense.nodes)} nodes, {share} of the time"
    if len(nodes) == len(dense.nodes):
        shown = f"all {len(nodes)} nodes"
    head(figure, f"Where the {format_ms(dense.total_ms)} go", f"{format_target(table.target)} · {shown}")
    return figure


def _label(node: NodeTime) -> str:
    """The node's name, cut at its front, and its first output without the batch."""
    shape = "x".join(map(str, node.outputs[0][1:])) if node.outputs else ""
    name = node.name if len(node.name) <= _LONGEST else f"…{node.name[1 - _LONGEST :]}"
    return f"{name}  {shape}".rstrip()
