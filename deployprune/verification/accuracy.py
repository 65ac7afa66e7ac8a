"""Accuracy of the file that ships, through the runtime that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from deployprune.backends.base import Session
from deployprune.errors import UsageError
from deployprune.records import AccuracyResult

__all__ = ["Metric", "file_accuracy"]

Metric = Callable[[np.ndarray, np.ndarray], tuple[float, int]]


def file_accuracy(
    session: Session, batches: Iterable[tuple[np.ndarray, np.ndarray]], metric: str | Metric
) -> AccuracyResult:
    """The metric's value over ``batches`` of (inputs, targets), both with the examples along dimension 0.

    ``metric`` is ``"top1"`` (class scores along dimension 1 of the first output) or a callable that gives the sum and
    the count for the first output and the targets of some examples. Batches may be of any size: they are cut to the
    session's own, and a last short one is filled up and the filling thrown away. Raises UsageError for an unknown
    metric, a model with several inputs, no examples, or inputs that do not fit the model.
    """
    name, measure = _resolve(metric)
    if len(session.inputs) != 1:
        raise UsageError(
            f"the model has {len(session.inputs)} inputs, and accuracy can be measured with one only",
            hint="measure it yourself with Session.run(feeds)",
        )
    total, count = 0.0, 0
    for inputs, targets in batches:
        for start, outputs in _outputs(session, inputs):
            added, examples = measure(outputs, np.asarray(targets)[start : start + len(outputs)])
            total, count = total + float(added), count + int(examples)
    if count == 0:
        raise UsageError("there is no example to measure accuracy on", hint="check the validation data")
    return AccuracyResult(metric=name, value=total / count, examples=count)


def _resolve(metric: str | Metric) -> tuple[str, Metric]:
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric != "top1":
        raise UsageError(f"there is no metric called {metric!r}", hint="use top1, or pkg.mod:callable")
    return "top1", _top1


def _top1(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, int]:
    return float((outputs.argmax(axis=1) == targets).sum()), targets.size


def _outputs(session: Session, inputs: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(position of its first example, first output) for every session-sized piece of ``inputs``."""
    spec = session.inputs[0]
    batch = spec.shape[0]
    for start in range(0, len(inputs), batch):
        piece = np.ascontiguousarray(inputs[start : start + batch], dtype=spec.dtype)
        missing = batch - len(piece)
        if missing:
            piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
        yield start, session.run({spec.name: piece})[0][: batch - missing]
