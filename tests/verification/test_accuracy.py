from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_models import write_conv_net

from deployprune.backends.base import Session
from deployprune.backends.registry import get_backend
from deployprune.errors import UsageError
from deployprune.records import AccuracyResult, Target
from deployprune.verification.accuracy import file_accuracy

EXAMPLES = 23


@pytest.fixture(params=[1, 8])
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    path = write_conv_net(tmp_path / "net.onnx", channels=8, size=8)
    with get_backend("onnxruntime").open(path, Target(backend="onnxruntime", batch=request.param)) as opened:
        yield opened


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((EXAMPLES, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def predicted(tmp_path: Path, images: np.ndarray) -> np.ndarray:
    path = write_conv_net(tmp_path / "whole.onnx", channels=8, size=8)
    with get_backend("onnxruntime").open(path, Target(backend="onnxruntime", batch=EXAMPLES)) as whole:
        return whole.run({"image": images})[0].argmax(axis=1)


def batches(images: np.ndarray, targets: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(images), size):
        yield images[start : start + size], targets[start : start + size]


@pytest.mark.parametrize("size", [1, 5, 23])
def test_top1_does_not_depend_on_how_the_examples_are_batched(
    session: Session, images: np.ndarray, predicted: np.ndarray, size: int
) -> None:
    targets = predicted.copy()
    targets[:6] = (targets[:6] + 1) % 10
    found = file_accuracy(session, batches(images, targets, size), "top1")
    assert found == AccuracyResult(metric="top1", value=17 / 23, examples=23)


def test_a_callable_metric_gets_outputs_and_targets_of_the_same_examples(
    session: Session, images: np.ndarray, predicted: np.ndarray
) -> None:
    def distance(outputs: np.ndarray, targets: np.ndarray) -> tuple[float, int]:
        assert outputs.shape == (len(targets), 10)
        return float(abs(outputs.argmax(axis=1) - targets).sum()), len(targets)

    found = file_accuracy(session, batches(images, predicted + 2, 4), distance)
    assert found == AccuracyResult(metric="distance", value=2.0, examples=23)


def test_what_cannot_be_measured_is_refused(session: Session, images: np.ndarray) -> None:
    with pytest.raises(UsageError, match="top7"):
        file_accuracy(session, [], "top7")
    with pytest.raises(UsageError, match="no example"):
        file_accuracy(session, [], "top1")
    with pytest.raises(UsageError, match="image"):
        file_accuracy(session, [(images[:, :, :4], np.zeros(EXAMPLES, int))], "top1")
