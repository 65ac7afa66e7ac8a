"""How far predictions may be off: an interval from the runs themselves, without assumptions about the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deployprune.profiling.fit import fit_latency
from deployprune.records import Analysis, LatencyTable, VariantRun

__all__ = ["CONFIDENCE", "conformal_error"]

CONFIDENCE = 0.9
_FOLDS = 4
_FEWEST = 16  # runs of which a fold less still gives a fit like that of all


def conformal_error(table: LatencyTable, analysis: Analysis, confidence: float = CONFIDENCE) -> float | None:
    """The relative error that predictions of ``confidence`` of all unseen variants stay within; None for small tables.

    Every run is predicted by a fit to the runs outside its fold, and the error is the conformal quantile of what that
    missed (cross-conformal prediction: Vovk 2015; CV+: Barber et al. 2021). It holds for variants drawn like the
    table's own, and a little above its confidence, for the fit to all runs is the better one.
    """
    count = len(table.runs)
    rank = math.ceil((count + 1) * confidence)
    if count < _FEWEST or rank > count:
        return None
    folds = np.arange(count) % _FOLDS
    errors: list[float] = []
    for fold in range(_FOLDS):
        kept = [run for run, own in zip(table.runs, folds, strict=True) if own != fold]
        left = [run for run, own in zip(table.runs, folds, strict=True) if own == fold]
        errors += _errors(table, analysis, kept, left)
    return sorted(errors)[rank - 1]


def _errors(
    table: LatencyTable, analysis: Analysis, kept: Sequence[VariantRun], left: Sequence[VariantRun]
) -> list[float]:
    model = fit_latency(replace(table, runs=tuple(kept)), analysis)
    return [abs(model.predict_ms(run.widths) / run.total_ms - 1.0) for run in left]
