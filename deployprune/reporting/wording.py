"""How single figures are written in every report."""

from __future__ import annotations

from deployprune.records import AccuracyResult, Ratio, Target
from deployprune.units import format_share

__all__ = [
    "NOT_MEASURED",
    "format_accuracy",
    "format_accuracy_change",
    "format_change",
    "format_speedup",
    "format_target",
]

NOT_MEASURED = "NOT MEASURED"


def format_change(value: float, baseline: float) -> str:
    """How a size differs from its baseline: ``-63.5 %``; empty where there is nothing to compare with."""
    if baseline == 0:
        return ""
    change = 100 * (value / baseline - 1)
    return f"{_signed(change, 1)} %"


def format_speedup(ratio: Ratio) -> str:
    """A latency ratio as a speed-up with its interval: ``2.05x [2.03, 2.08]``."""
    return f"{1 / ratio.value:.2f}x [{1 / ratio.high:.2f}, {1 / ratio.low:.2f}]"


def format_accuracy(result: AccuracyResult | None) -> str:
    """Top-1 as a percentage, another metric as it is, and plain words where nothing was measured."""
    if result is None:
        return NOT_MEASURED
    return format_share(result.value, 2) if result.metric == "top1" else f"{result.value:.4g}"


def format_accuracy_change(result: AccuracyResult, baseline: AccuracyResult) -> str:
    """The difference to the baseline: ``-0.26 points`` of top-1, or in the metric's own unit."""
    change = result.value - baseline.value
    return f"{_signed(100 * change, 2)} points" if result.metric == "top1" else _signed(change, 4)


def format_target(target: Target) -> str:
    """The conditions in one line: ``onnxruntime · 1 thread · f32 · batch 1``."""
    threads = "1 thread" if target.threads == 1 else f"{target.threads} threads"
    device = () if target.device == "local" else (target.device,)
    return " · ".join((target.backend, *device, threads, target.precision, f"batch {target.batch}"))


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return f"±{text}"
    return f"{'+' if value > 0 else '-'}{text}"
