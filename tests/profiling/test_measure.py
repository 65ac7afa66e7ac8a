from __future__ import annotations

import gc
import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_models import write_conv_net

from deployprune.backends.base import Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.errors import UsageError
from deployprune.profiling.measure import compare_until, measure_interleaved
from deployprune.records import Ratio, Target


class Stopwatch:
    """A session whose inferences take what ``law`` says of how many were timed in all sessions together."""

    def __init__(self, name: str, log: list[str], law: Callable[[int], float]) -> None:
        self._name, self._log, self._law = name, log, law

    def time_once(self) -> float:
        self._log.append(self._name)
        return self._law(len(self._log))


def stopwatches(**laws: Callable[[int], float]) -> tuple[dict[str, Session], list[str]]:
    log: list[str] = []
    return {name: Stopwatch(name, log, law) for name, law in laws.items()}, log  # type: ignore[misc]


def constant(ms: float) -> Callable[[int], float]:
    return lambda _: ms


def test_every_round_times_every_session_once_in_an_order_that_changes() -> None:
    sessions, log = stopwatches(a=constant(3.0), b=constant(4.0), c=constant(5.0))
    found = measure_interleaved(sessions, rounds=20, warmup=2, seed=0)
    assert {name: measurement.samples_ms for name, measurement in found.items()} == {
        "a": (3.0,) * 20,
        "b": (4.0,) * 20,
        "c": (5.0,) * 20,
    }
    turns = log[2 * 3 :: 2]
    rounds = [tuple(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert len(rounds) == 20
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 3


def test_the_same_seed_gives_the_same_order() -> None:
    logs = []
    for seed in (1, 1, 2):
        sessions, log = stopwatches(a=constant(1.0), b=constant(1.0))
        measure_interleaved(sessions, rounds=30, seed=seed)
        logs.append(log)
    assert logs[0] == logs[1] != logs[2]


def test_a_fast_model_is_timed_often_enough_to_fill_a_sample() -> None:
    sessions, log = stopwatches(fast=constant(0.1), slow=constant(9.0))
    found = measure_interleaved(sessions, rounds=10, warmup=1, min_round_ms=2.0)
    assert log.count("fast") == 1 + 10 * (20 + 1)
    assert log.count("slow") == 1 + 10 * (1 + 1)
    assert found["fast"].p50 == pytest.approx(0.1)


def test_the_collector_is_off_while_timing_and_on_again_after() -> None:
    seen = []

    def law(_: int) -> float:
        seen.append(gc.isenabled())
        return 1.0

    sessions, _ = stopwatches(a=law)
    measure_interleaved(sessions, rounds=2)
    assert not any(seen)
    assert gc.isenabled()


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(UsageError):
        measure_interleaved({}, rounds=3)
    with pytest.raises(UsageError):
        measure_interleaved(stopwatches(a=constant(1.0))[0], rounds=0)


def compare(
    sessions: dict[str, Session],
    *,
    min_rounds: int = 10,
    max_rounds: int = 200,
    budget_s: float = 30.0,
    decided: Callable[[dict[str, Ratio]], bool] | None = None,
) -> dict[str, tuple[int, Ratio]]:
    found = compare_until(
        sessions,
        "dense",
        half_width=0.01,
        min_rounds=min_rounds,
        max_rounds=max_rounds,
        budget_s=budget_s,
        seed=0,
        decided=decided,
    )
    return {name: (len(measurement.samples_ms), ratio) for name, (measurement, ratio) in found.items()}


def noisy(ms: float) -> Callable[[int], float]:
    """Up to 20 % too slow, by a rule of its own for every call."""
    return lambda call: ms * (1 + 0.2 * random.Random(call).random())


def test_steady_sessions_need_the_least_rounds() -> None:
    found = compare(stopwatches(dense=constant(4.0), candidate=constant(2.0))[0])
    assert found["candidate"] == (10, Ratio(value=0.5, low=0.5, high=0.5))
    assert found["dense"] == (10, Ratio(value=1.0, low=1.0, high=1.0))


def test_noisy_sessions_get_more_rounds_until_the_ratio_is_known() -> None:
    rounds, ratio = compare(stopwatches(dense=noisy(4.0), candidate=noisy(2.0))[0], max_rounds=3000)["candidate"]
    assert 10 < rounds < 3000
    assert ratio.high - ratio.low <= 2 * 0.01 * ratio.value
    assert ratio.low <= 0.5 <= ratio.high


def test_rounds_end_at_their_limit() -> None:
    assert compare(stopwatches(dense=noisy(4.0), candidate=noisy(2.0))[0], max_rounds=12)["candidate"][0] == 12


def test_a_decision_ends_the_rounds_early() -> None:
    sessions, _ = stopwatches(dense=noisy(4.0), candidate=noisy(2.0))
    assert compare(sessions, decided=lambda ratios: ratios["candidate"].high < 0.9)["candidate"][0] == 10


def test_the_budget_ends_the_rounds_but_leaves_enough_for_an_interval() -> None:
    rounds, ratio = compare(stopwatches(dense=noisy(4.0), candidate=noisy(2.0))[0], budget_s=0.0)["candidate"]
    assert rounds == 2
    assert ratio.low < ratio.high


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="dense"):
        compare(stopwatches(candidate=constant(1.0))[0])


def test_drift_of_the_machine_does_not_move_the_ratio() -> None:
    def slowing(ms: float) -> Callable[[int], float]:
        return lambda call: ms * (1 + call / 500)

    ratio = compare(stopwatches(dense=slowing(4.0), candidate=slowing(2.8))[0], min_rounds=60)["candidate"][1]
    assert ratio.low <= 0.7 <= ratio.high
    assert ratio.value == pytest.approx(0.7, rel=0.01)


def test_real_sessions_tell_a_small_model_from_a_large_one(tmp_path: Path) -> None:
    backend = get_backend("onnxruntime")
    widths = {"dense": 64, "control": 64, "candidate": 16}
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for role, channels in widths.items():
            path = write_conv_net(tmp_path / f"{role}.onnx", channels=channels, size=32)
            sessions[role] = stack.enter_context(backend.open(path, Target(backend="onnxruntime")))
            sessions[role].bind(random_feeds(sessions[role].inputs, seed=0))
        found = compare(sessions, max_rounds=40, budget_s=5.0)
    assert found["candidate"][1].high < 0.8
    assert 0.5 < found["control"][1].value < 2
