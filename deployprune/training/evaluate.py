"""How good a module is on the validation data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import nn

from deployprune.errors import UsageError
from deployprune.records import AccuracyResult
from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.training.calls import call

__all__ = ["Metric", "accuracy"]

Metric = Callable[[NDArray[Any], NDArray[Any]], tuple[float, int]]


def accuracy(module: nn.Module, data: Data, *, metric: str | Metric = "top1", batch_size: int = 256) -> AccuracyResult:
    """The metric of ``module`` over the validation examples, in evaluation mode and its own precision.

    ``metric`` is ``top1`` or a callable of (outputs, targets) arrays that gives (sum, count) for a batch.
    Raises UsageError for data without labels, an unknown metric, or a metric that fails.
    """
    if not data.labelled:
        raise UsageError("accuracy needs labels, and the data has none", hint="bring labels, or let only distil")
    measure = _find_metric(metric)
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    total, count = 0.0, 0
    try:
        with torch.no_grad():
            for batch in data.loader("val", batch_size):
                x, y = split_batch(batch)
                outputs = call(module, send_to_device(x, device)).float().cpu().numpy()
                part, examples = _measure(measure, outputs, np.asarray(y))
                total, count = total + part, count + examples
    finally:
        module.train(was_training)
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
    return AccuracyResult(metric=name, value=total / max(count, 1), examples=count)


def top1(outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[float, int]:
    """How many highest outputs (N, classes, ...) are the target class (N, ...), and how many there are."""
    right = outputs.argmax(axis=1) == targets
    return float(right.sum()), int(right.size)


def _find_metric(metric: str | Metric) -> Metric:
    if callable(metric):
        return metric
    if metric != "top1":
        raise UsageError(f"there is no metric {metric!r}", hint="use top1, or pkg.mod:callable")
    return top1


def _measure(measure: Metric, outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[float, int]:
    try:
        total, count = measure(outputs, targets)
        return float(total), int(count)
    except Exception as error:  # a user's metric may raise anything
        raise UsageError(
            f"the metric failed on arrays {outputs.shape} and {targets.shape}: {type(error).__name__}: {error}",
            hint="it takes (outputs, targets) as numpy arrays and gives (sum, count)",
        ) from error
