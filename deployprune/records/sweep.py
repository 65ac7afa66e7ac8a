"""A sweep: one run a speed-up, and what each of them reached."""

from __future__ import annotations

from dataclasses import dataclass

from deployprune.records.measurement import Ratio, Target
from deployprune.records.model import AccuracyResult
from deployprune.records.verification import Verdict

__all__ = ["SweepPoint", "SweepRecord", "SweepSide", "SweepTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSide:
    """One file of a run on one target: ``dense``, ``candidate`` or ``unstructured``."""

    role: str
    ratio: Ratio
    accuracy: AccuracyResult | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTarget:
    """What one run reached on one target: ``goal`` is the budget as a share of ``dense_ms``, the dense latency at the
    device's reference speed."""

    target: Target
    verdict: Verdict
    dense_ms: float
    goal: float
    sides: tuple[SweepSide, ...]

    def side(self, role: str) -> SweepSide | None:
        """The file of this role, or None where there is none."""
        return next((side for side in self.sides if side.role == role), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One speed-up and its run, a folder in the sweep's; until it is done there is neither verdict nor ``refusal``,
    the reason why no widths reach it. ``importance_kept`` is the plan's, a share of one."""

    speedup: float
    run: str
    verdict: Verdict | None = None
    refusal: str | None = None
    importance_kept: float | None = None
    targets: tuple[SweepTarget, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether the run has its verdict, or was refused."""
        return self.verdict is not None or self.refusal is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRecord:
    """All points of a sweep, the gentlest first."""

    model: str
    points: tuple[SweepPoint, ...]

    @property
    def verdict(self) -> Verdict:
        """PASS where every speed-up was reached, FAIL where one was missed or refused, else INCONCLUSIVE."""
        if any(point.refusal is not None or point.verdict is Verdict.FAIL for point in self.points):
            return Verdict.FAIL
        reached = all(point.verdict is Verdict.PASS for point in self.points)
        return Verdict.PASS if reached else Verdict.INCONCLUSIVE
