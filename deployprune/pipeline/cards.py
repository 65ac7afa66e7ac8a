"""What is known of one file on one target: its size, its memory, its accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deployprune.backends.registry import backend_of, device_of
from deployprune.export.artifact import file_artifact
from deployprune.pipeline.workbench import Workbench
from deployprune.records import AccuracyResult, ModelCard, Target
from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.verification.accuracy import file_accuracy

__all__ = ["accuracy_drop", "file_card", "measured_accuracy"]

_LOADED_BATCH = 64


def file_card(bench: Workbench, role: str, path: Path, target: Target) -> ModelCard:
    """The card of a file of which nothing but itself is known."""
    return ModelCard(
        role=role,
        artifact=file_artifact(path, path.parent, backend_of(target).format),
        peak_memory_bytes=device_of(target.device).peak_memory_bytes(path, target),
        accuracy=measured_accuracy(bench, path, target),
    )


def accuracy_drop(cards: Sequence[ModelCard]) -> float | None:
    """Points (hundredths of the metric) that the candidate's file is worse than the dense file."""
    found = {card.role: card.accuracy.value for card in cards if card.accuracy is not None}
    return 100 * (found["dense"] - found["candidate"]) if {"dense", "candidate"} <= found.keys() else None


def measured_accuracy(bench: Workbench, path: Path, target: Target) -> AccuracyResult | None:
    """The metric of a file as it is run on ``target``, or None where there is nothing to measure it on."""
    if bench.labelled_data is None:
        return None
    with backend_of(target).open(path, target) as session:
        return file_accuracy(session, _batches(bench.labelled_data), bench.metric)


def _batches(data: Data) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for batch in data.loader("val", _LOADED_BATCH):
        inputs, labels = split_batch(batch)
        yield np.asarray(inputs), np.asarray(labels)
