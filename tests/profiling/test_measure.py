from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from deployprune.backends.base import Session
from deployprune.errors import UsageError
from deployprune.profiling import measure
from deployprune.profiling.measure import measure_interleaved


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


def turns_of(log: list[str], **lengths: int) -> Iterator[str]:
    """Whose turn it was, one turn after another, of so many inferences each."""
    while log:
        name, length = log[0], lengths[log[0]]
        assert log[:length] == [name] * length
        yield name
        log = log[length:]


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
    turns = list(turns_of(log[2 * 3 :], a=5 + 1, b=4 + 1, c=3 + 1))
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
    assert log.count("fast") == 1 + 10 * (12 + 20)
    assert log.count("slow") == 1 + 10 * (2 + 1)
    assert found["fast"].p50 == pytest.approx(0.1)


def test_what_a_model_takes_until_it_is_back_in_the_caches_is_not_counted() -> None:
    """Of a small model the first eleven inferences after another's take longer, of a large one the first."""
    log: list[str] = []

    def after_others(name: str, cold: int, ms: float) -> Session:
        def law(count: int) -> float:
            return ms if count > cold and log[-1 - cold :] == [name] * (cold + 1) else 1.3 * ms

        return Stopwatch(name, log, law)  # type: ignore[return-value]

    sessions = {"small": after_others("small", 11, 1.2), "large": after_others("large", 1, 30.0)}
    found = measure_interleaved(sessions, rounds=10, min_round_ms=2.0)
    assert found["small"].samples_ms == (1.2,) * 10
    assert found["large"].samples_ms == (30.0,) * 10


def test_the_collector_is_off_while_timing_and_on_again_after() -> None:
    seen = []

    def law(_: int) -> float:
        seen.append(gc.isenabled())
        return 1.0

    sessions, _ = stopwatches(a=law)
    measure_interleaved(sessions, rounds=2)
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize(("budget_s", "rounds"), [(0.0, 2), (6.9, 2), (7.1, 3), (8.9, 3), (100.0, 20)])
def test_no_third_round_begins_that_would_end_past_the_budget(
    budget_s: float, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that the inferences alone move on: a second each, one to warm up and two in a round."""
    sessions, log = stopwatches(a=constant(1000.0))
    monkeypatch.setattr(measure, "time", SimpleNamespace(monotonic=lambda: float(len(log))))
    found = measure_interleaved(sessions, rounds=20, warmup=1, budget_s=budget_s)
    assert len(found["a"].samples_ms) == rounds


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(UsageError):
        measure_interleaved({}, rounds=3)
    with pytest.raises(UsageError):
        measure_interleaved(stopwatches(a=constant(1.0))[0], rounds=0)
