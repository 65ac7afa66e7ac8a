"""The first thing a report says: the verdict, what was reached, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deployprune.records import AccuracyResult, VerificationRecord
from deployprune.records.naming import label_targets
from deployprune.reporting.comparison import budget_share
from deployprune.reporting.view import RunView
from deployprune.reporting.wording import NOT_MEASURED, format_accuracy, format_accuracy_change, format_speedup
from deployprune.units import format_bytes, format_count, format_share

LIMITED = {"parameters": "parameters", "macs": "MACs", "size": "ONNX file"}

__all__ = ["Headline", "headline", "verification_headline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """``word`` is the verdict, ``PROFILE`` or ``NOT FINISHED``; ``lines`` follow it in order of weight."""

    word: str
    title: str
    lines: tuple[str, ...]


def headline(view: RunView) -> Headline:
    """The headline of whatever subset of a run there is."""
    if view.verification is None:
        return _profiled(view) if _is_profile(view) else _unfinished(view)
    return verification_headline(view.verification, view.model_name, accuracy_line(*_accuracy(view)))


def verification_headline(result: VerificationRecord, name: str, accuracy: str | None = None) -> Headline:
    """The headline of a verification; ``accuracy`` replaces the line made from the files' own accuracy."""
    met = " meets its budget already: the dense model was exported as it is" if result.already_met else ""
    accuracy = accuracy or accuracy_line(*_file_accuracy(result))
    lines = (*_reached(result), *_limits(result), accuracy, result.reason)
    return Headline(word=result.verdict.value, title=f"{name}{met}", lines=lines)


def accuracy_line(dense: AccuracyResult | None, candidate: AccuracyResult | None) -> str:
    """``accuracy: 91.20 % → 90.94 % (-0.26 points)`` or ``accuracy: NOT MEASURED``."""
    if candidate is None:
        return f"accuracy: {NOT_MEASURED}"
    if dense is None:
        return f"accuracy: {format_accuracy(candidate)} ({candidate.metric}, dense {NOT_MEASURED})"
    change = format_accuracy_change(candidate, dense)
    values = f"{format_accuracy(dense)} → {format_accuracy(candidate)} ({change})"
    return f"accuracy: {values}, {candidate.metric} of {candidate.examples} examples"


def _accuracy(view: RunView) -> tuple[AccuracyResult | None, AccuracyResult | None]:
    """Accuracy of dense and candidate: of the files where they were measured, else of the eager models."""
    if view.verification is not None:
        dense, candidate = _file_accuracy(view.verification)
        if candidate is not None:
            return dense, candidate
    return (view.recovery.dense, view.recovery.candidate) if view.recovery else (None, None)


def _file_accuracy(result: VerificationRecord) -> tuple[AccuracyResult | None, AccuracyResult | None]:
    for target in result.targets:
        found = {card.role: card.accuracy for card in target.cards}
        if found.get("candidate"):
            return found.get("dense"), found["candidate"]
    return None, None


def _reached(result: VerificationRecord) -> Iterator[str]:
    labels = label_targets(target.target for target in result.targets)
    for target in result.targets:
        for comparison in target.comparisons:
            if comparison.role == "candidate":
                share = budget_share(target)
                reached = f", {format_share(share)} of the budget" if share is not None else ""
                yield f"{labels[target.target]}: {format_speedup(comparison.ratio)} as fast as dense{reached}"


def _limits(result: VerificationRecord) -> Iterator[str]:
    for limit in result.limits:
        text = format_bytes if limit.name == "size" else format_count
        share = format_share(limit.reached / max(limit.limit, 1))
        allowed = f"{text(limit.reached)} of {text(limit.limit)}"
        yield f"{LIMITED[limit.name]}: {share} of the limit ({allowed}; dense {text(limit.dense)})"


def _is_profile(view: RunView) -> bool:
    return bool(view.tables) and not view.config.has_budget


def _profiled(view: RunView) -> Headline:
    count = len(view.tables)
    title = f"{view.model_name}: {count} latency table{'s' if count > 1 else ''}"
    return Headline(word="PROFILE", title=title, lines=(accuracy_line(*_accuracy(view)),))


def _unfinished(view: RunView) -> Headline:
    reached = {
        "the model was loaded": view.loaded,
        "the model was analysed": view.analysis,
        "the dense model was exported": view.dense,
        "latency was measured": view.tables,
        "the plan was made": view.plan,
        "the model was pruned": view.surgery,
        "the pruned model was recovered": view.recovery,
        "the unstructured twin was made": view.unstructured,
        "the files were exported": view.export,
    }
    last = [words for words, record in reached.items() if record]
    return Headline(
        word="NOT FINISHED",
        title=f"{view.model_name}: {last[-1] if last else 'nothing was done yet'}",
        lines=(f"go on with: deployprune compress --resume {view.root}", accuracy_line(*_accuracy(view))),
    )
