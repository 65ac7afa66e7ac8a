"""Which layers share their channels: one row a layer, coloured by its group, with the paths between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deployprune.records import Analysis
from deployprune.reporting.flow import FROZEN, FlowNode, draw_flow, group_colors
from deployprune.reporting.pictures.style import INK, MUTED, head
from deployprune.units import format_count, format_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_groups"]

_ROW = 0.26  # inches; so are all lengths here
_NARROWEST, _TOP, _BOTTOM = 8.4, 1.25, 0.3
_PATHS = 1.5  # room for the paths, left of the boxes
_BOX = (0.34, 0.17)
_LETTER = 0.078
_GAP = 0.3
_LONGEST = 48  # letters of a cell
_HEADER = ("layer", "operation", "output", "pruned with")


def draw_groups(analysis: Analysis, name: str) -> Figure:
    """Rows in the order of computation; a path that skips rows is an arc at the left."""
    from matplotlib.figure import Figure

    nodes = draw_flow(analysis)
    colors = group_colors(nodes)
    cells = [_HEADER, *map(_cells, nodes)]
    *columns, end = _columns(cells)
    width, height = max(_NARROWEST, end), _TOP + _BOTTOM + _ROW * len(nodes)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    rows = {node.name: _TOP + _ROW * (index + 0.5) for index, node in enumerate(nodes)}
    for node in nodes:
        for source in node.sources:
            _draw_path(axes, rows[source], rows[node.name])
    for node in nodes:
        _draw_box(axes, node, rows[node.name], colors)
        _write(axes, columns, rows[node.name], _cells(node), _inks(node, colors))
    _write(axes, columns, _TOP - _ROW / 2, _HEADER, [MUTED] * len(_HEADER))
    head(figure, f"Channel groups of {name}", _subtitle(analysis, nodes))
    return figure


def _draw_path(axes: Axes, start: float, end: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    middle = _PATHS + _BOX[0] / 2
    skipped = (end - start) / _ROW - 1
    if skipped < 0.5:
        axes.plot([middle, middle], [start, end], color=MUTED, linewidth=1.1, zorder=1)
        return
    reach = min(0.22 + 0.12 * skipped**0.75, _PATHS - 0.25) / 0.75  # of the control points: the arc goes to 3/4
    places = [(_PATHS, start), (_PATHS - reach, start), (_PATHS - reach, end), (_PATHS, end)]
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    axes.add_patch(PathPatch(Path(places, codes), fill=False, edgecolor=MUTED, linewidth=1.1, alpha=0.8, zorder=1))


def _draw_box(axes: Axes, node: FlowNode, middle: float, colors: Mapping[str, str]) -> None:
    from matplotlib.patches import Rectangle

    fills = [colors[name] for name in node.groups] or [FROZEN]
    width = _BOX[0] / len(fills)
    for index, fill in enumerate(fills):
        corner = (_PATHS + index * width, middle - _BOX[1] / 2)
        axes.add_patch(Rectangle(corner, width, _BOX[1], facecolor=fill, edgecolor="none", zorder=2))


def _cells(node: FlowNode) -> tuple[str, ...]:
    op = node.op if node.label != node.op else ""
    return tuple(map(_shortened, (node.label, op, node.shape, ", ".join(node.groups) or "stays whole")))


def _inks(node: FlowNode, colors: Mapping[str, str]) -> list[str]:
    label = INK if node.label != node.op else MUTED
    groups = colors[node.groups[0]] if len(node.groups) == 1 else INK if node.groups else MUTED
    return [label, MUTED, MUTED, groups]


def _columns(rows: Sequence[Sequence[str]]) -> list[float]:
    """Where each column begins, and where the last one ends."""
    edges = [_PATHS + _BOX[0] + _GAP]
    for column in zip(*rows, strict=True):
        edges.append(edges[-1] + _GAP + _LETTER * max(map(len, column)))
    return edges


def _write(axes: Axes, columns: Sequence[float], middle: float, cells: Sequence[str], inks: Sequence[str]) -> None:
    for left, text, ink in zip(columns, cells, inks, strict=True):
        axes.text(left, middle, text, color=ink, va="center", fontsize=8.5)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _subtitle(analysis: Analysis, nodes: Sequence[FlowNode]) -> str:
    whole = sum(not node.groups for node in nodes)
    parameters = format_share(analysis.prunable_parameters / max(analysis.parameters, 1))
    return (
        f"{len(analysis.groups)} groups hold {parameters} of {format_count(analysis.parameters)} parameters · "
        f"layers of one colour are pruned together · grey stays whole ({whole} of {len(nodes)})"
    )
