"""The verdict: does a measured ratio meet its target, miss it, or is the machine too noisy to tell?"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from deployprune.records import Ratio, Verdict
from deployprune.stats import half_width
from deployprune.units import format_share

__all__ = ["TOLERANCE", "Difference", "combine", "control_bias", "judge", "tell_apart"]

TOLERANCE = 0.005  # above the target and still met: what a p50 can be told apart by on a quiet machine
NOISE_LIMIT = 0.05  # half width of the control's interval beyond which no ratio of these rounds means anything


class Difference(StrEnum):
    """What a ratio shows of two files."""

    FASTER = "faster"
    SLOWER = "slower"
    NONE = "no difference"


def tell_apart(ratio: Ratio, control: Ratio) -> Difference:
    """Whether a file is shown to be faster or slower than the baseline that ``ratio`` is to.

    It is where the whole interval, widened by the control's bias, lies more than ``TOLERANCE`` away from 1; a control
    too wide to mean anything shows nothing.
    """
    margin = (1 + control_bias(control)) * (1 + TOLERANCE)
    if half_width(control) > NOISE_LIMIT or (ratio.low <= margin and ratio.high >= 1 / margin):
        return Difference.NONE
    return Difference.SLOWER if ratio.low > margin else Difference.FASTER


def judge(
    ratio: Ratio,
    target_ratio: float,
    control: Ratio,
    *,
    accuracy_drop: float | None = None,
    max_accuracy_drop: float | None = None,
) -> tuple[Verdict, str]:
    """The verdict on a candidate's latency ``ratio`` to dense, and why in one line.

    PASS when the whole interval lies at or below ``target_ratio`` (plus ``TOLERANCE``) and the candidate is not shown
    to be slower than dense (:func:`tell_apart`); FAIL when it lies above, when it is slower than dense, or when
    accuracy was measured and fell by more than ``max_accuracy_drop`` (both in the metric's own unit); INCONCLUSIVE
    otherwise. The interval is first widened by the control's bias, and a control too wide to mean anything leaves
    latency INCONCLUSIVE.
    """
    if accuracy_drop is not None and max_accuracy_drop is not None and accuracy_drop > max_accuracy_drop:
        return Verdict.FAIL, f"accuracy fell by {accuracy_drop:.4g}, allowed is {max_accuracy_drop:.4g}"
    if half_width(control) > NOISE_LIMIT:
        return Verdict.INCONCLUSIVE, f"the machine is too noisy: dense against itself measured {_interval(control)}"
    bias = control_bias(control)
    low, high = ratio.low / (1 + bias), ratio.high * (1 + bias)
    measured = f"latency is {ratio.value:.3f} of dense {_interval(ratio)}, target {target_ratio:.3f}"
    if bias > 0:
        measured += f" (widened by {format_share(bias, 2)}: dense against itself measured {_interval(control)})"
    if tell_apart(ratio, control) is Difference.SLOWER:
        return Verdict.FAIL, f"slower than the dense model: {measured}"
    if high <= target_ratio * (1 + TOLERANCE):
        return Verdict.PASS, measured
    if low > target_ratio * (1 + TOLERANCE):
        return Verdict.FAIL, measured
    return Verdict.INCONCLUSIVE, f"the interval holds the target: {measured}"


def control_bias(control: Ratio) -> float:
    """How far from 1 two equal files are shown to be, beyond the noise of their rounds: 0 if the interval holds 1."""
    return max(0.0, control.low - 1, 1 / control.high - 1)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict over several: one FAIL fails all, PASS needs every one to pass; nothing judged is INCONCLUSIVE."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.PASS if seen == {Verdict.PASS} else Verdict.INCONCLUSIVE


def _interval(ratio: Ratio) -> str:
    return f"[{ratio.low:.3f}, {ratio.high:.3f}]"
