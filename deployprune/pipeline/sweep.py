"""Several speed-ups of one model, one run each; what is measured of the dense model is measured once."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline import crew, doors
from deployprune.progress import Observer
from deployprune.records import (
    Plan,
    SweepPoint,
    SweepRecord,
    SweepSide,
    SweepTarget,
    VerificationRecord,
    Verified,
)
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN
from deployprune.sweepdir import SweepDirectory

__all__ = ["sweep"]


def sweep(directory: SweepDirectory, observer: Observer) -> SweepRecord:
    """Compress to every speed-up that is not done yet, the gentlest first.

    A speed-up that no widths reach is recorded as refused, and the others go on. Raises every other error; what was
    done until then stays done.
    """
    record = directory.read()
    for index, point in enumerate(record.points):
        if point.is_done:
            continue
        observer.message(f"speed-up {point.speedup:g}x, {index + 1} of {len(record.points)}")
        with directory.open_run(point) as run:
            done = _reach(point, run, observer, trust_pickle=directory.config.model.trust_pickle)
        points = (*record.points[:index], done, *record.points[index + 1 :])
        record = replace(record, points=points)
        directory.write(record)
    crew.share_root(None)
    return record


def _reach(point: SweepPoint, run: RunDirectory, observer: Observer, *, trust_pickle: bool) -> SweepPoint:
    replaced = msgspec.structs.replace
    config = replaced(run.config, model=replaced(run.config.model, trust_pickle=trust_pickle))
    try:
        verification = doors.compress(config, run=run, observer=observer)
    except UnsupportedModelError as error:
        if not run.table_files() or run.has(PLAN):
            raise
        observer.warning(f"{point.speedup:g}x is refused: {error.message}")
        return replace(point, refusal=error.message)
    return _reached(point, run.find(PLAN), verification)


def _reached(point: SweepPoint, plan: Plan | None, verification: VerificationRecord) -> SweepPoint:
    return replace(
        point,
        verdict=verification.verdict,
        importance_kept=None if plan is None else 1.0 - plan.loss,
        targets=tuple(map(_target, verification.targets)),
    )


def _target(verified: Verified) -> SweepTarget:
    cards = {card.role: card for card in verified.cards}
    return SweepTarget(
        target=verified.target,
        verdict=verified.verdict,
        dense_ms=verified.reference_ms,
        goal=verified.target_ms / verified.reference_ms,
        sides=tuple(
            SweepSide(
                role=comparison.role,
                ratio=comparison.ratio,
                accuracy=cards[comparison.role].accuracy,
                size_bytes=cards[comparison.role].artifact.size_bytes,
            )
            for comparison in verified.comparisons
        ),
    )
