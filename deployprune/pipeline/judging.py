"""From what was measured to a verdict, for a run's files and for any two files alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployprune.backends.registry import backend_of, device_of, fresh_backend
from deployprune.config import Config
from deployprune.export.formats import get_format
from deployprune.pipeline.cards import accuracy_drop
from deployprune.records import SPARSE_ROLE, LimitCheck, ModelCard, Target, Verdict, VerificationRecord, Verified
from deployprune.records.naming import label_targets
from deployprune.verification.budget import combine, judge
from deployprune.verification.speedup import Speedup, verify_latency

__all__ = ["Timing", "conclude", "judge_target", "time_target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What the sittings so far say of a target's files: the candidate is to take ``goal`` of dense's latency.

    ``reference_ms`` is the dense latency at the device's reference speed, ``heat_c`` the device's temperature before
    and after (°C), where it can be read.
    """

    target: Target
    found: Speedup
    reference_ms: float
    goal: float
    heat_c: tuple[float, float] | None


def time_target(
    config: Config, target: Target, paths: Mapping[str, Path], *, reference_ms: float, goal: float
) -> Iterator[Timing]:
    """Time the files of ``paths`` (role to file) in the same rounds: after each sitting (see
    :mod:`deployprune.verification.speedup`), what all of them so far say."""
    settings, device = config.verification, device_of(target.device)
    before = device.temperature()
    sittings = verify_latency(
        lambda: fresh_backend(target),
        target,
        paths,
        reference_ms,
        goal,
        seed=config.seed,
        budget_s=settings.budget_seconds,
        apart_s=settings.apart_seconds,
    )
    for found in sittings:
        after = device.temperature()
        heat = None if before is None or after is None else (before, after)
        yield Timing(target=target, found=found, reference_ms=reference_ms, goal=goal, heat_c=heat)


def judge_target(config: Config, timing: Timing, cards: Sequence[ModelCard]) -> Verified:
    """The verdict on the candidate by its latency, and by its accuracy where ``cards`` have it."""
    found = timing.found
    verdict, reason = judge(
        found.comparisons["candidate"].ratio,
        timing.goal,
        found.control,
        accuracy_drop=accuracy_drop(cards),
        max_accuracy_drop=config.target.max_accuracy_drop,
    )
    return Verified(
        target=timing.target,
        cards=tuple(cards),
        comparisons=tuple(found.comparisons.values()),
        control=found.control,
        reference_ms=timing.reference_ms,
        target_ms=timing.goal * timing.reference_ms,
        drift=found.drift,
        verdict=verdict,
        reason=reason,
        heat_c=timing.heat_c,
        sparse_kernels=_sparse_kernels(timing.target) if SPARSE_ROLE in found.comparisons else None,
    )


def _sparse_kernels(target: Target) -> str | None:
    """What the sparse kernels of the target's runtime are, in words, where it has some."""
    sparse = get_format(backend_of(target).format).sparse
    return get_format(sparse).kernels if sparse is not None else None


def conclude(results: Sequence[Verified], limits: Sequence[LimitCheck] = ()) -> VerificationRecord:
    """The verdict over all targets and limits, with the reasons of those that decided it; if all pass, of one."""
    broken = next((limit for limit in limits if not limit.is_kept), None)
    if broken is not None:
        reason = f"{broken.name}: {broken.reached} where {broken.limit} are allowed"
        return VerificationRecord(targets=tuple(results), verdict=Verdict.FAIL, reason=reason, limits=tuple(limits))
    verdict = combine(result.verdict for result in results)
    deciding = [result for result in results if result.verdict is verdict]
    told = deciding[:1] if verdict is Verdict.PASS else deciding
    labels = label_targets(result.target for result in results)
    reason = "; ".join(f"{labels[result.target]}: {result.reason}" for result in told)
    return VerificationRecord(targets=tuple(results), verdict=verdict, reason=reason, limits=tuple(limits))
