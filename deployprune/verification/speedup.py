"""Paired latency of a candidate against dense, with dense against itself beside it, in several sittings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from deployprune.backends.base import Backend
from deployprune.errors import UsageError
from deployprune.profiling.comparing import compare_files
from deployprune.profiling.pacing import Pace
from deployprune.records import Comparison, Measurement, Ratio, Target, Verdict
from deployprune.stats import ratio_over_sittings
from deployprune.verification.budget import judge

__all__ = ["SITTINGS", "Speedup", "verify_latency"]

SITTINGS = 3  # at most: two, and another where they leave it open
_FEWEST = 2
_DENSE, _CONTROL, _CANDIDATE = "dense", "control", "candidate"
_HALF_WIDTH = 0.01  # a budget band is 5 % wide and is aimed at in its middle: 1 % tells its edges apart
_EARLY = 1.5  # how much wider than itself an interval must still decide before measuring stops early
_MAX_ROUNDS = 4000
_NEAR = 0.1  # of the target: within this, a spell of the machine can decide the verdict

_Sitting = Mapping[str, tuple[Measurement, Ratio]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """What was measured so far: every role's comparison (dense's own ratio is 1), the control's ratio, and the drift:
    by which share dense's p50 is above its reference."""

    comparisons: Mapping[str, Comparison]
    control: Ratio
    drift: float


def verify_latency(
    fresh: Callable[[], AbstractContextManager[Backend]],
    target: Target,
    paths: Mapping[str, Path],
    reference_ms: float,
    target_ratio: float,
    *,
    seed: int,
    budget_s: float,
    apart_s: float,
    min_rounds: int = 50,
) -> Iterator[Speedup]:
    """Time the files of ``paths`` (role to file; ``dense`` is required) in interleaved rounds, in two sittings, and in
    a third where those do not tell whether ``target_ratio`` is met. Yields what all sittings so far say.

    Each sitting has the backend that ``fresh`` gives: one in a process of its own, as the file will run.

    A sitting begins when the next item is asked for, but where the candidate is near its target not before ``apart_s``
    seconds after the last began (:class:`Pace`): a machine has spells in which a ratio is off by more than the rounds
    of one sitting show (:func:`deployprune.stats.ratio_over_sittings`). A caller does other work between them.

    The dense file is opened a second time as the control. In a sitting blocks of rounds, all files opened anew in each,
    are added until every ratio to dense is known to about 1 %, until the candidate is well clear of the target, or
    until its part of ``budget_s`` is spent. Looking again and again at a 95 % interval and stopping when it suits would
    be wrong more often than 5 % of the time, which is why "well clear" is asked of an interval half as wide again (99 %
    or more).

    All blocks of a sitting are of one process: ratios from twelve processes started for it spread no wider than those
    of one process at the same times (measured with two networks on ONNX Runtime and OpenVINO: 0.6 to 0.9 % both ways,
    over minutes).

    Raises UsageError without a dense file, and what the backend's ``open`` raises.
    """
    if _DENSE not in paths:
        raise UsageError("there is no dense file to compare with", hint="give the exported dense model's file")
    sittings: list[_Sitting] = []
    pace, near = Pace(), False
    for number in range(SITTINGS):
        pace.begin(apart_s if near else 0.0)
        with fresh() as backend:
            timed = compare_files(
                backend,
                target,
                {**paths, _CONTROL: paths[_DENSE]},
                _DENSE,
                half_width=_HALF_WIDTH,
                min_rounds=-(-min_rounds // _FEWEST),
                max_rounds=_MAX_ROUNDS,
                budget_s=budget_s / SITTINGS,
                seed=seed + number,
                decided=lambda ratios: _is_clear(ratios, target_ratio),
            )
        sittings.append(timed)
        found = _over(sittings, list(paths), reference_ms)
        yield found
        if len(sittings) >= _FEWEST and _is_told(found, target_ratio):
            break
        near = _is_near(found, target_ratio)


def _over(sittings: Sequence[_Sitting], roles: Sequence[str], reference_ms: float) -> Speedup:
    """All sittings together: their samples one behind the other, and their ratios with the spread between them."""
    samples = {
        role: Measurement(samples_ms=tuple(ms for sitting in sittings for ms in sitting[role][0].samples_ms))
        for role in roles
    }
    ratios = {role: ratio_over_sittings([sitting[role][1] for sitting in sittings]) for role in (*roles, _CONTROL)}
    return Speedup(
        comparisons={role: Comparison(role=role, measurement=samples[role], ratio=ratios[role]) for role in roles},
        control=ratios[_CONTROL],
        drift=samples[_DENSE].p50 / reference_ms - 1,
    )


def _is_told(found: Speedup, target_ratio: float) -> bool:
    """Whether the candidate, where there is one, is judged PASS or FAIL."""
    candidate = found.comparisons.get(_CANDIDATE)
    if candidate is None:
        return True
    return judge(candidate.ratio, target_ratio, found.control)[0] is not Verdict.INCONCLUSIVE


def _is_near(found: Speedup, target_ratio: float) -> bool:
    """Whether the candidate, where there is one, may be on the other side of its target a minute later."""
    candidate = found.comparisons.get(_CANDIDATE)
    return candidate is not None and abs(candidate.ratio.value / target_ratio - 1) < _NEAR


def _is_clear(ratios: dict[str, Ratio], target_ratio: float) -> bool:
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
