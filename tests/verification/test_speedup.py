from __future__ import annotations

from pathlib import Path

import pytest
from small_models import write_conv_net, write_ir

from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.errors import UsageError
from deployprune.records import Target
from deployprune.verification.speedup import verify_latency


def files(folder: Path, *, ir: bool = False) -> dict[str, Path]:
    widths = {"dense": 64, "candidate": 24, "unstructured": 64}
    paths = {role: write_conv_net(folder / f"{role}.onnx", channels=width) for role, width in widths.items()}
    return {role: write_ir(path) for role, path in paths.items()} if ir else paths


def test_the_fake_law_is_measured_back(tmp_path: Path) -> None:
    backend, target = get_backend("fake"), Target(backend="fake")
    paths = files(tmp_path)
    with backend.open(paths["dense"], target) as dense, backend.open(paths["candidate"], target) as candidate:
        for session in (dense, candidate):
            session.bind(random_feeds(session.inputs, seed=0))
        truth = candidate.time_once() / dense.time_once()
        reference = dense.time_once() / 2
    comparisons, control, drift = verify_latency(backend, target, paths, reference, 0.5, seed=0, budget_s=5.0)
    assert list(comparisons) == ["dense", "candidate", "unstructured"]
    assert all(comparison.role == role for role, comparison in comparisons.items())
    assert comparisons["candidate"].ratio.value == pytest.approx(truth, rel=0.003)
    assert comparisons["dense"].ratio.value == 1
    assert comparisons["unstructured"].ratio.value == pytest.approx(1, rel=0.003)
    assert control.value == pytest.approx(1, rel=0.003)
    assert drift == pytest.approx(1, abs=0.006)
    assert len({len(comparison.measurement.samples_ms) for comparison in comparisons.values()}) == 1


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_real_runtimes_see_a_smaller_model_as_faster(tmp_path: Path, name: str) -> None:
    paths = files(tmp_path, ir=name == "openvino")
    comparisons, control, drift = verify_latency(
        get_backend(name), Target(backend=name), paths, 1.0, 0.9, seed=0, budget_s=3.0, min_rounds=10
    )
    assert comparisons["candidate"].ratio.high < 0.9
    assert control.low < control.value < control.high
    assert drift == comparisons["dense"].measurement.p50 - 1


def test_dense_is_required(tmp_path: Path) -> None:
    paths = {"candidate": write_conv_net(tmp_path / "candidate.onnx")}
    with pytest.raises(UsageError, match="dense"):
        verify_latency(get_backend("fake"), Target(backend="fake"), paths, 1.0, 0.5, seed=0, budget_s=1.0)
