"""How the plan came about, what it took away, what fine-tuning did, and the proof, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployprune.records import LoopStep, Plan, Proof, TrainingRecord
from deployprune.records.naming import label_targets
from deployprune.reporting.prunable import product_words
from deployprune.reporting.view import RunView
from deployprune.units import format_ms, format_share

__all__ = [
    "TRAIL_COLUMNS",
    "WidthRow",
    "plan_line",
    "proof_line",
    "recovery_line",
    "trail_rows",
    "width_rows",
]

TRAIL_COLUMNS = ("turn", "target", "to reach", "predicted", "measured", "correction")


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthRow:
    """One channel group before and after."""

    group: str
    kind: str
    dense: int
    kept: int

    @property
    def share(self) -> float:
        """The share of the group that stays."""
        return self.kept / self.dense


def width_rows(view: RunView) -> tuple[WidthRow, ...]:
    """Every group's width before and after, in the order of the model; empty without a plan."""
    if view.plan is None or view.analysis is None:
        return ()
    kept = view.plan.widths
    return tuple(
        WidthRow(group=group.name, kind=group.kind, dense=group.size, kept=kept.get(group.name, group.size))
        for group in view.analysis.groups
    )


def plan_line(plan: Plan) -> str:
    """What the plan costs in importance, how near to the optimum it is, after how many turns, and what it missed."""
    turns = len(plan.trail)
    measured = f", found in {turns} measured turn{'s' if turns != 1 else ''}{_missed(plan)}" if turns else ""
    return (
        f"{format_share(plan.loss)} of all importance goes, "
        f"within {format_share(plan.gap, 2)} of the solver's bound{measured}"
    )


def _missed(plan: Plan) -> str:
    """What of the budgets was not kept, or may not have been."""
    over = [f"{format_share(share.value)} of that on {key}" for key, share in plan.used.items() if share.high > 1.0]
    return f"; NO PLAN was clearly within every budget, and this one takes {' and '.join(over)}" if over else ""


def trail_rows(view: RunView) -> tuple[tuple[str, ...], ...]:
    """One row a turn and target, in the order of :data:`TRAIL_COLUMNS`; latencies are ratios to dense.

    Predictions also in ms at the device's reference speed, and those of the first turn, which are the table's own, with
    the relative error that nine of ten stay within.
    """
    plan = view.plan
    if plan is None:
        return ()
    dense = {key: table.runs[0].total_ms for key, table in view.tables.items() if table.runs}
    labels = label_targets(table.target for table in view.tables.values())
    names = {key: labels[table.target] for key, table in view.tables.items()}
    return tuple(
        (row[0], names.get(row[1], row[1]), *row[2:])
        for number, step in enumerate(plan.trail, 1)
        for row in _turn_rows(number, step, plan, dense)
    )


def _turn_rows(number: int, step: LoopStep, plan: Plan, dense: Mapping[str, float]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, measured in step.measured.items():
        figures = (plan.target_ratio.get(key), step.correction.get(key))
        wanted, correction = ("" if value is None else f"{value:.3f}" for value in figures)
        error = plan.interval.get(key) if number == 1 else None
        predicted = _predicted(step.predicted.get(key), error, dense.get(key))
        interval = f"{measured.value:.3f} [{measured.low:.3f}, {measured.high:.3f}]"
        rows.append((str(number), key, wanted, predicted, interval, correction))
    return rows


def _predicted(ratio: float | None, error: float | None, dense_ms: float | None) -> str:
    if ratio is None:
        return ""
    within = "" if error is None else f" ± {format_share(error)}"
    return f"{ratio:.3f}{within}" + ("" if dense_ms is None else f", {format_ms(ratio * dense_ms)}")


def proof_line(proof: Proof) -> str:
    """The proof in one sentence; a mask that changed nothing proves nothing, and is said."""
    changed = "" if proof.mask_changed_output else "; but the mask changed no output, so this proves nothing"
    return (
        f"pruned and masked dense model differ by {proof.relative_difference:.1e} relative "
        f"in {proof.trials} trials ({product_words(proof)}){changed}"
    )


def recovery_line(view: RunView) -> str | None:
    """What fine-tuning did; None before that step has ended."""
    if view.recovery is None:
        return None
    training = view.recovery.training
    return "no recovery: there was no data, or no epoch was asked for" if training is None else _training(training)


def _training(training: TrainingRecord) -> str:
    means = [word for word, used in (("distillation", training.distilled), ("labels", training.labels)) if used]
    return (
        f"{training.epochs} epochs with {' and '.join(means) or 'no loss'}; {_kept(training)}; "
        f"{training.images_per_second:.0f} examples/s; seed {training.seed}"
    )


def _kept(training: TrainingRecord) -> str:
    best = "the best metric on the validation data" if training.criterion == "metric" else "the lowest validation loss"
    if training.best_epoch == 0:
        return f"kept the weights as they were pruned, which had {best}"
    return f"kept the weights after epoch {training.best_epoch}, which had {best}"
