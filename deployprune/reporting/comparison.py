"""Dense, candidate and unstructured twin side by side on one target, in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployprune.records import SPARSE_ROLE, Comparison, ModelCard, Verified
from deployprune.reporting.wording import (
    format_accuracy,
    format_accuracy_change,
    format_change,
    format_speedup,
    format_target,
)
from deployprune.units import format_bytes, format_count, format_ms, format_share

__all__ = ["TargetFacts", "budget_share", "target_facts"]

ROLES = ("dense", "candidate", "unstructured", SPARSE_ROLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """One target's figures as text: ``rows`` are a label and one cell a role.

    ``budget_share`` is what :func:`budget_share` gives, and ``budget`` the same in words.
    """

    title: str
    verdict: str
    reason: str
    roles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    budget_share: float | None
    budget: str
    notes: tuple[tuple[str, str], ...]


def budget_share(verified: Verified) -> float | None:
    """The candidate's latency as a share of the budget, or None where one of them is missing.

    Both are seen on the scale of the dense model timed in the same rounds, so that a slow minute fools nobody.
    """
    ratios = [comparison.ratio for comparison in verified.comparisons if comparison.role == "candidate"]
    if not ratios or verified.target_ms <= 0:
        return None
    return ratios[0].value * verified.reference_ms / verified.target_ms


def target_facts(verified: Verified) -> TargetFacts:
    """Put one target's measurements into words."""
    cards = {card.role: card for card in verified.cards}
    timed = {comparison.role: comparison for comparison in verified.comparisons}
    roles = tuple(role for role in ROLES if role in cards or role in timed)
    rows = [*_latency_rows(roles, timed), *_size_rows(roles, cards)]
    share = budget_share(verified)
    return TargetFacts(
        title=format_target(verified.target),
        verdict=verified.verdict.value,
        reason=verified.reason,
        roles=roles,
        rows=tuple(rows),
        budget_share=share,
        budget="" if share is None else _budget(verified, share),
        notes=_notes(verified),
    )


def _latency_rows(roles: tuple[str, ...], timed: dict[str, Comparison]) -> list[tuple[str, ...]]:
    def row(label: str, text: Callable[[Comparison], str]) -> tuple[str, ...]:
        return (label, *(text(timed[role]) if role in timed else "" for role in roles))

    return [
        row("latency p50", lambda side: format_ms(side.measurement.p50)),
        row("latency p90", lambda side: format_ms(side.measurement.p90)),
        row("speed-up, 95 %", lambda side: "1.00x" if side.role == "dense" else format_speedup(side.ratio)),
    ]


def _size_rows(roles: tuple[str, ...], cards: dict[str, ModelCard]) -> list[tuple[str, ...]]:
    dense = cards.get("dense")

    def row(label: str, value: Callable[[ModelCard], int | None], text: Callable[[int], str]) -> tuple[str, ...]:
        baseline = value(dense) if dense else None
        cells = (_with_change(value(cards[role]), baseline, text) if role in cards else "" for role in roles)
        return (label, *cells)

    rows = [
        row("size on disk", lambda card: card.artifact.size_bytes, format_bytes),
        row("parameters", lambda card: card.parameters, format_count),
        row("MACs", lambda card: card.macs, format_count),
        row("peak memory", lambda card: card.peak_memory_bytes, format_bytes),
        ("accuracy", *(_accuracy_cell(cards[role], dense) if role in cards else "" for role in roles)),
    ]
    if any(card.nonzero_parameters != card.parameters for card in cards.values()):
        rows.insert(2, row("non-zero", lambda card: card.nonzero_parameters, format_count))
    return [row for row in rows if any(row[1:])]


def _with_change(value: int | None, baseline: int | None, text: Callable[[int], str]) -> str:
    if value is None:
        return ""
    change = format_change(value, baseline) if baseline is not None and value != baseline else ""
    return f"{text(value)}  {change}".rstrip()


def _accuracy_cell(card: ModelCard, dense: ModelCard | None) -> str:
    text = format_accuracy(card.accuracy)
    if card.accuracy is None or dense is None or dense.accuracy is None or card is dense:
        return text
    return f"{text}  {format_accuracy_change(card.accuracy, dense.accuracy)}"


def _budget(verified: Verified, share: float) -> str:
    reached, budget = format_ms(share * verified.target_ms), format_ms(verified.target_ms)
    return f"{format_share(share)} of the budget ({reached.removesuffix(' ms')} of {budget})"


def _notes(verified: Verified) -> tuple[tuple[str, str], ...]:
    control = verified.control
    slower = "slower" if verified.drift >= 0 else "faster"
    drift = f"{format_share(abs(verified.drift))} {slower} than its reference of {format_ms(verified.reference_ms)}"
    heat = "; {:.0f} °C before these rounds, {:.0f} °C after".format(*verified.heat_c) if verified.heat_c else ""
    return (
        ("control", f"dense against itself: {control.value:.3f} [{control.low:.3f}, {control.high:.3f}]"),
        ("drift", f"dense ran {drift}{heat}"),
        *_sparse_note(verified),
    )


def _sparse_note(verified: Verified) -> tuple[tuple[str, str], ...]:
    """Whether zeros could help here at all, where the twin was timed."""
    if not any(comparison.role == "unstructured" for comparison in verified.comparisons):
        return ()
    target = verified.target
    none = f"none in {target.backend} at {target.precision}: zeros are multiplied as any number is"
    return (("sparse kernels", verified.sparse_kernels or none),)
