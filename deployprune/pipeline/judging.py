"""From what was measured to a verdict, for a run's files and for any two files alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deployprune.backends.registry import backend_of
from deployprune.config import Config
from deployprune.pipeline.cards import accuracy_drop
from deployprune.records import LimitCheck, ModelCard, Target, Verdict, VerificationRecord, Verified
from deployprune.records.naming import label_targets
from deployprune.verification.budget import combine, judge
from deployprune.verification.speedup import verify_latency

__all__ = ["conclude", "judge_target"]


def judge_target(
    config: Config,
    target: Target,
    paths: Mapping[str, Path],
    cards: Sequence[ModelCard],
    *,
    reference_ms: float,
    goal: float,
) -> Verified:
    """Time the files of ``paths`` (role to file) in the same rounds and judge the candidate.

    ``reference_ms`` is the dense latency at the device's reference speed, ``goal`` the budget as a share of it.
    """
    budget = config.verification.budget_seconds
    comparisons, control, drift = verify_latency(
        backend_of(target), target, paths, reference_ms, goal, seed=config.seed, budget_s=budget
    )
    verdict, reason = judge(
        comparisons["candidate"].ratio,
        goal,
        control,
        accuracy_drop=accuracy_drop(cards),
        max_accuracy_drop=config.target.max_accuracy_drop,
    )
    return Verified(
        target=target,
        cards=tuple(cards),
        comparisons=tuple(comparisons.values()),
        control=control,
        reference_ms=reference_ms,
        target_ms=goal * reference_ms,
        drift=drift,
        verdict=verdict,
        reason=reason,
    )


def conclude(results: Sequence[Verified], limits: Sequence[LimitCheck] = ()) -> VerificationRecord:
    """The verdict over all targets and limits, with the reason of one that decided it."""
    broken = next((limit for limit in limits if not limit.is_kept), None)
    if broken is not None:
        reason = f"{broken.name}: {broken.reached} where {broken.limit} are allowed"
        return VerificationRecord(targets=tuple(results), verdict=Verdict.FAIL, reason=reason, limits=tuple(limits))
    verdict = combine(result.verdict for result in results)
    deciding = next(result for result in results if result.verdict is verdict)
    labels = label_targets(result.target for result in results)
    reason = f"{labels[deciding.target]}: {deciding.reason}"
    return VerificationRecord(targets=tuple(results), verdict=verdict, reason=reason, limits=tuple(limits))
