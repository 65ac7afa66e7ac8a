"""Non-negative least squares in relative error, robust to outliers, and its cross-validated error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

__all__ = ["Expectation", "cross_validated_error", "fit_nonnegative"]

_FOLDS = 5
_REWEIGHTINGS = 2
_DEVIATIONS = 1.4826  # standard deviations in a median absolute residual
_HUBER = 1.5  # residuals beyond so many times the typical one lose weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is known of the coefficients before any run: ``design @ coefficients`` is near ``values``.

    Each row counts like a run that is off by as much relative to what it took.
    """

    design: NDArray[np.float64]
    values: NDArray[np.float64]


def fit_nonnegative(
    design: NDArray[np.float64],
    observed: NDArray[np.float64],
    expected: Expectation | None = None,
    precision: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Coefficients >= 0 that bring ``design @ coefficients`` near ``observed`` (> 0) in relative error.

    ``design`` is runs x features, ``observed`` one value a run. Huber's weights (1964), estimated anew twice, keep a
    disturbed run from bending the fit. What is ``expected`` decides where the runs tell little (ridge regression), and
    ``precision``, the inverse of a run's variance next to the others', how much it counts (weighted least squares).
    """
    scale = np.abs(design).max(axis=0)
    scale[scale == 0.0] = 1.0
    trust = np.ones(len(observed)) if precision is None else np.sqrt(precision)
    rows = design / scale / observed[:, None] * trust[:, None]
    known = expected or Expectation(design=np.empty((0, design.shape[1])), values=np.empty(0))
    weights = np.ones(len(observed))
    for _ in range(_REWEIGHTINGS + 1):
        weighted = np.vstack([rows * weights[:, None], known.design / scale])
        solution = nnls(weighted, np.concatenate([trust * weights, known.values]))[0]
        residual = np.abs(rows @ solution - trust)
        typical = max(float(np.median(residual)) * _DEVIATIONS, 1e-9)
        weights = np.sqrt(np.minimum(1.0, _HUBER * typical / np.maximum(residual, 1e-12)))
    return np.asarray(solution / scale, dtype=np.float64)


def cross_validated_error(
    design: NDArray[np.float64], observed: NDArray[np.float64], precision: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Relative error of every run, predicted by the fit to the runs outside its fold (every fifth run is one)."""
    errors = np.empty(len(observed))
    folds = np.arange(len(observed)) % _FOLDS
    for fold in range(_FOLDS):
        out = folds == fold
        if out.any():
            kept = ~out if not out.all() else out
            trusted = None if precision is None else precision[kept]
            solution = fit_nonnegative(design[kept], observed[kept], precision=trusted)
            errors[out] = design[out] @ solution / observed[out] - 1.0
    return errors
