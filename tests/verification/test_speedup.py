from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from small_models import write_conv_net, write_ir

from deployprune.backends.base import Session
from deployprune.backends.fake import FakeBackend
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import fresh_backend, get_backend
from deployprune.errors import UsageError
from deployprune.records import Ratio, Target, Verdict
from deployprune.verification.budget import judge
from deployprune.verification.speedup import SITTINGS, verify_latency


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
    *_, found = verify_latency(
        lambda: nullcontext(backend), target, paths, reference, 0.5, seed=0, budget_s=5.0, apart_s=0
    )
    comparisons, control, drift = found.comparisons, found.control, found.drift
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
    paths, target = files(tmp_path, ir=name == "openvino"), Target(backend=name)
    *_, found = verify_latency(
        lambda: fresh_backend(target), target, paths, 1.0, 0.9, seed=0, budget_s=3.0, apart_s=0, min_rounds=10
    )
    assert found.comparisons["candidate"].ratio.high < 0.9
    assert found.control.low < found.control.value < found.control.high
    assert found.drift == found.comparisons["dense"].measurement.p50 - 1


def test_dense_is_required(tmp_path: Path) -> None:
    paths = {"candidate": write_conv_net(tmp_path / "candidate.onnx")}
    with pytest.raises(UsageError, match="dense"):
        next(
            verify_latency(
                lambda: nullcontext(get_backend("fake")),
                Target(backend="fake"),
                paths,
                1.0,
                0.5,
                seed=0,
                budget_s=1.0,
                apart_s=0,
            )
        )


class Spells(FakeBackend):
    """The fake, on a machine on which files opened from the ``begin``-th on take ``factor`` times as long if small."""

    def __init__(self, begin: int, factor: float) -> None:
        self.begin, self.factor, self.opened = begin, factor, 0

    def open(self, path: Path, target: Target) -> Session:
        self.opened += 1
        session = super().open(path, target)
        slow = self.opened >= self.begin and "candidate" in path.name
        return Slowed(session, self.factor) if slow else session


class Slowed:
    """A session whose clock runs ``factor`` times as fast."""

    def __init__(self, session: Session, factor: float) -> None:
        self.session, self.factor = session, factor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def __enter__(self) -> Slowed:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def time_once(self) -> float:
        return self.factor * self.session.time_once()


def sittings(backend: FakeBackend, folder: Path, goal: float) -> list[Ratio]:
    found = verify_latency(
        lambda: nullcontext(backend), Target(backend="fake"), files(folder), 1.0, goal, seed=0, budget_s=5.0, apart_s=0
    )
    return [each.comparisons["candidate"].ratio for each in found]


def test_a_spell_between_sittings_is_in_the_interval_and_fails_nothing(tmp_path: Path) -> None:
    """What two sittings do not agree on is no reason to fail a file, and a third is sat for."""
    calm = sittings(FakeBackend(), tmp_path, 0.9)
    assert len(calm) == 2
    assert calm[-1].high - calm[-1].low < 0.02 * calm[-1].value
    goal = 1.02 * calm[-1].value
    opened = 1 + 5 * 4  # in one sitting: dense to warm up, and four files in each of five blocks
    rough = sittings(Spells(opened + 1, 1.06), tmp_path, goal)
    assert len(rough) == SITTINGS
    second = rough[1]
    assert second.low < calm[-1].value
    assert second.high > 1.05 * calm[-1].value
    assert judge(second, goal, Ratio(value=1.0, low=0.99, high=1.01))[0] is Verdict.INCONCLUSIVE


def test_sittings_near_the_target_lie_apart_and_others_do_not_wait(tmp_path: Path) -> None:
    backend, target, paths = get_backend("fake"), Target(backend="fake"), files(tmp_path)

    def seconds(goal: float, apart_s: float) -> float:
        began = time.monotonic()
        found = list(
            verify_latency(
                lambda: nullcontext(backend), target, paths, 1.0, goal, seed=0, budget_s=5.0, apart_s=apart_s
            )
        )
        assert len(found) == 2
        return time.monotonic() - began

    near = 1.02 * sittings(FakeBackend(), tmp_path, 0.9)[-1].value
    assert seconds(near, 1.0) >= 1.0
    assert seconds(1.5 * near, 1000.0) < 100.0
