"""Paired latency of a candidate against dense, with dense against itself beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployprune.backends.base import Backend
from deployprune.errors import UsageError
from deployprune.profiling.comparing import compare_files
from deployprune.records import Comparison, Ratio, Target, Verdict
from deployprune.verification.budget import judge

__all__ = ["verify_latency"]

_DENSE, _CONTROL, _CANDIDATE = "dense", "control", "candidate"
_HALF_WIDTH = 0.01  # a budget band is 5 % wide and is aimed at in its middle: 1 % tells its edges apart
_EARLY = 1.5  # how much wider than itself an interval must still decide before measuring stops early
_MAX_ROUNDS = 4000


def verify_latency(
    backend: Backend,
    target: Target,
    paths: Mapping[str, Path],
    reference_ms: float,
    target_ratio: float,
    *,
    seed: int,
    budget_s: float,
    min_rounds: int = 50,
) -> tuple[dict[str, Comparison], Ratio, float]:
    """Time the files of ``paths`` (role to file; ``dense`` is required) in the same interleaved rounds.

    The dense file is opened a second time as the control. Blocks of rounds, all files opened anew in each, are added
    until every ratio to dense is known to about 1 %, until the candidate is well clear of the target, or until
    ``budget_s`` is spent. Looking again and again at a 95 % interval and stopping when it suits would be wrong more
    often than 5 % of the time, which is why "well clear" is asked of an interval half as wide again (99 % or more).

    All blocks are of one process: ratios from twelve processes started for it spread no wider than those of one process
    at the same times (measured with two networks on ONNX Runtime and OpenVINO: 0.6 to 0.9 % both ways, over minutes).

    Returns the comparison of every role (dense's own ratio is 1), the control's ratio, and the drift: by which share
    dense's p50 in these rounds is above ``reference_ms``. Raises UsageError without a dense file, and what the
    backend's ``open`` raises.
    """
    if _DENSE not in paths:
        raise UsageError("there is no dense file to compare with", hint="give the exported dense model's file")

    timed = compare_files(
        backend,
        target,
        {**paths, _CONTROL: paths[_DENSE]},
        _DENSE,
        half_width=_HALF_WIDTH,
        min_rounds=min_rounds,
        max_rounds=_MAX_ROUNDS,
        budget_s=budget_s,
        seed=seed,
        decided=lambda ratios: _clear(ratios, target_ratio),
    )
    comparisons = {role: Comparison(role=role, measurement=timed[role][0], ratio=timed[role][1]) for role in paths}
    return comparisons, timed[_CONTROL][1], comparisons[_DENSE].measurement.p50 / reference_ms - 1


def _clear(ratios: dict[str, Ratio], target_ratio: float) -> bool:
    """Whether a wider interval of the candidate than the one measured would still be judged PASS or FAIL."""
    ratio = ratios.get(_CANDIDATE)
    if ratio is None:
        return False
    wider = replace(
        ratio,
        low=ratio.value - _EARLY * (ratio.value - ratio.low),
        high=ratio.value + _EARLY * (ratio.high - ratio.value),
    )
    return judge(wider, target_ratio, ratios[_CONTROL])[0] is not Verdict.INCONCLUSIVE
