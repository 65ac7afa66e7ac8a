"""What a sweep reached, speed-up by speed-up and target by target, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployprune.records import SweepPoint, SweepRecord, SweepSide, Target, Verdict
from deployprune.records.naming import label_targets
from deployprune.reporting.headline import Headline
from deployprune.reporting.wording import (
    NOT_MEASURED,
    format_accuracy,
    format_accuracy_change,
    format_change,
    format_speedup,
)
from deployprune.units import format_bytes, format_share

__all__ = ["REFUSED", "sweep_columns", "sweep_headline", "sweep_rows", "target_names", "was_measured"]

REFUSED = "REFUSED"


def sweep_headline(record: SweepRecord) -> Headline:
    """How many speed-ups were reached, and why those were refused that no widths reach."""
    done = [point for point in record.points if point.is_done]
    reached = sum(point.verdict is Verdict.PASS for point in record.points)
    lines = [f"{point.speedup:g}x: {point.refusal}" for point in record.points if point.refusal is not None]
    if not was_measured(record):
        lines.append(f"accuracy: {NOT_MEASURED}; importance kept stands in its place")
    unfinished = len(done) < len(record.points)
    return Headline(
        word="NOT FINISHED" if unfinished else record.verdict.value,
        title=f"{record.model}: {reached} of {len(record.points)} speed-ups reached",
        lines=tuple(lines),
    )


def was_measured(record: SweepRecord) -> bool:
    """Whether the accuracy of any file is known."""
    return any(side.accuracy for point in record.points for target in point.targets for side in target.sides)


def sweep_columns(record: SweepRecord) -> tuple[str, ...]:
    """The columns of :func:`sweep_rows`."""
    cost = "accuracy" if was_measured(record) else "importance kept"
    return ("asked", "target", "measured, 95 %", "of budget", cost, "size on disk", "verdict")


def target_names(record: SweepRecord) -> dict[Target, str]:
    """What the targets are called beside each other."""
    return label_targets(entry.target for point in record.points for entry in point.targets)


def sweep_rows(record: SweepRecord) -> tuple[tuple[str, ...], ...]:
    """The dense model on every target, then one row a speed-up and target."""
    names, measured = target_names(record), was_measured(record)
    rows = (row for point in record.points for row in _rows(point, names, measured))
    return (*_dense_rows(record, names), *rows)


def _dense_rows(record: SweepRecord, names: Mapping[Target, str]) -> Iterator[tuple[str, ...]]:
    first = next((point for point in record.points if point.targets), None)
    for target in first.targets if first else ():
        dense = target.side("dense")
        if dense is not None:
            cost = format_accuracy(dense.accuracy) if was_measured(record) else format_share(1.0)
            yield ("dense", names[target.target], "1.00x", "", cost, format_bytes(dense.size_bytes), "")


def _rows(point: SweepPoint, names: Mapping[Target, str], measured: bool) -> Iterator[tuple[str, ...]]:
    asked = f"{point.speedup:g}x"
    if not point.targets:
        yield (asked, "", "", "", "", "", REFUSED if point.is_done else "not done yet")
    for target in point.targets:
        dense, candidate = target.side("dense"), target.side("candidate")
        if dense is None or candidate is None:
            continue
        kept = "" if point.importance_kept is None else format_share(point.importance_kept)
        yield (
            asked,
            names[target.target],
            format_speedup(candidate.ratio),
            format_share(candidate.ratio.value / target.goal),
            _accuracy(candidate, dense) if measured else kept,
            f"{format_bytes(candidate.size_bytes)}  {format_change(candidate.size_bytes, dense.size_bytes)}",
            target.verdict.value,
        )


def _accuracy(side: SweepSide, dense: SweepSide) -> str:
    text = format_accuracy(side.accuracy)
    if side.accuracy is None or dense.accuracy is None:
        return text
    return f"{text}  {format_accuracy_change(side.accuracy, dense.accuracy)}"
