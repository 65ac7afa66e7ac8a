"""What speed costs: accuracy against measured latency, one line a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployprune.records import SweepRecord, SweepSide, Target
from deployprune.reporting.pictures.style import INK, MUTED, PALETTE, head, plain
from deployprune.reporting.sweep import target_names, was_measured
from deployprune.reporting.wording import NOT_MEASURED
from deployprune.units import format_ms

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_curve"]

_SIZE = (9.2, 5.6)  # inches
_TOP, _BOTTOM = 1.0, 0.55
_MARKERS = {"dense": "D", "candidate": "o", "unstructured": "x"}


@dataclass(frozen=True, slots=True)
class _Mark:
    """One file in the picture: latency in ms with its interval, and the height in percent or in the metric's unit."""

    role: str
    speedup: float
    ms: float
    interval: tuple[float, float]
    height: float


def draw_curve(record: SweepRecord) -> Figure:
    """Dense and candidates joined in the order of their speed, the unstructured twins beside them.

    Where no accuracy was measured, the share of importance that the plans keep stands in its place.
    """
    from matplotlib.figure import Figure

    measured = was_measured(record)
    figure = Figure(figsize=_SIZE)
    area = (0.08, _BOTTOM / _SIZE[1], 0.89, 1 - (_TOP + _BOTTOM) / _SIZE[1])
    axes = figure.add_axes(area)
    plain(axes, grid="y")
    for index, (target, name) in enumerate(target_names(record).items()):
        marks = _marks(record, target, measured)
        _draw_line(axes, marks, PALETTE[index % len(PALETTE)], name)
    axes.margins(x=0.06, y=0.14)
    axes.set_xlim(left=0)
    axes.set_xlabel("measured latency, ms")
    axes.set_ylabel(_height_words(record))
    _legend(axes, twins=measured)
    head(figure, f"What speed costs: {record.model}", _subtitle(record, measured))
    return figure


def _marks(record: SweepRecord, target: Target, measured: bool) -> list[_Mark]:
    marks: dict[tuple[str, float], _Mark] = {}
    for point in record.points:
        for entry in point.targets:
            if entry.target != target:
                continue
            for side in entry.sides:
                height = _height(side, point.importance_kept, measured)
                if height is not None:
                    speedup = 1.0 if side.role == "dense" else point.speedup
                    mark = _mark(side, speedup, entry.dense_ms, height)
                    marks.setdefault((side.role, speedup), mark)
    return list(marks.values())


def _height(side: SweepSide, kept: float | None, measured: bool) -> float | None:
    if measured:
        return None if side.accuracy is None else side.accuracy.value * _scale(side)
    if side.role == "unstructured":
        return None  # importance is of the plan's units, and the twin keeps them all
    return 100.0 if side.role == "dense" else None if kept is None else 100 * kept


def _scale(side: SweepSide) -> float:
    return 100.0 if side.accuracy is not None and side.accuracy.metric == "top1" else 1.0


def _mark(side: SweepSide, speedup: float, dense_ms: float, height: float) -> _Mark:
    low, middle, high = (dense_ms * ratio for ratio in (side.ratio.low, side.ratio.value, side.ratio.high))
    return _Mark(side.role, speedup, middle, (middle - low, high - middle), height)


def _draw_line(axes: Axes, marks: list[_Mark], color: str, label: str) -> None:
    joined = sorted((mark for mark in marks if mark.role != "unstructured"), key=lambda mark: mark.speedup)
    axes.plot([m.ms for m in joined], [m.height for m in joined], color=color, linewidth=1.8, label=label, zorder=2)
    for mark in marks:
        marker = _MARKERS[mark.role]
        size = 7 if mark.role == "candidate" else 8
        axes.plot(mark.ms, mark.height, marker, color=color, markersize=size, markeredgewidth=1.6, zorder=3)
    for mark in (mark for mark in marks if mark.role != "dense"):
        axes.errorbar(mark.ms, mark.height, xerr=[[part] for part in mark.interval], color=color, zorder=2)
        _name(axes, mark, color)


def _name(axes: Axes, mark: _Mark, color: str) -> None:
    """The speed-up asked, left above a candidate, where curves that rise leave room, and smaller beside a twin."""
    candidate = mark.role == "candidate"
    axes.annotate(
        f"{mark.speedup:g}x",
        (mark.ms, mark.height),
        xytext=(-6, 6) if candidate else (9, 0),
        textcoords="offset points",
        ha="right" if candidate else "left",
        va="bottom" if candidate else "center",
        color=color,
        fontsize=9.5 if candidate else 8,
        fontweight="bold" if candidate else "normal",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
        zorder=4,
    )


def _legend(axes: Axes, *, twins: bool) -> None:
    from matplotlib.lines import Line2D

    words = {"dense": "dense", "candidate": "pruned, by speed-up asked"}
    if twins:
        words["unstructured"] = "unstructured twins: as many weights, zeros in place"
    lines, _ = axes.get_legend_handles_labels()
    marks = [
        Line2D([], [], color=MUTED, marker=_MARKERS[role], linestyle="", markeredgewidth=1.6, label=label)
        for role, label in words.items()
    ]
    axes.legend(handles=[*lines, *marks], loc="best", frameon=False, labelcolor=INK)


def _height_words(record: SweepRecord) -> str:
    for point in record.points:
        for entry in point.targets:
            for side in entry.sides:
                if side.accuracy is not None:
                    return "top-1, %" if side.accuracy.metric == "top1" else side.accuracy.metric
    return "importance kept, %"


def _subtitle(record: SweepRecord, measured: bool) -> str:
    dense = [
        f"{target.target.backend} {format_ms(target.dense_ms)}" for point in record.points for target in point.targets
    ]
    parts = [f"dense: {', '.join(dict.fromkeys(dense))}"] if dense else []
    refused = [f"{point.speedup:g}x" for point in record.points if point.refusal is not None]
    if refused:
        parts.append(f"refused: {', '.join(refused)}")
    if not measured:
        parts.append(f"accuracy: {NOT_MEASURED}")
    return " · ".join(parts)
