from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_models import write_conv_net

from deployprune.backends.base import Backend, Closing
from deployprune.backends.registry import get_backend
from deployprune.errors import UsageError
from deployprune.profiling.comparing import compare_files
from deployprune.records import Availability, InputSpec, NodeTime, Ratio, Target

TARGET = Target(backend="stopwatch")
Law = Callable[[int, int], float]  # ms, by how many sessions were opened and inferences timed before, of all files


class Stopwatches:
    """A backend of sessions that time nothing: a file's name is its law's."""

    name = format = "stopwatch"
    precisions = ("f32",)

    def __init__(self, **laws: Law) -> None:
        self._laws = laws
        self.opened: list[str] = []
        self.open_now = 0
        self.timed = 0

    def availability(self) -> Availability:
        return Availability(name=self.name, available=True)

    def load(self) -> None: ...

    def open(self, path: Path, target: Target) -> Stopwatch:
        self.opened.append(path.name)
        self.open_now += 1
        return Stopwatch(self, self._laws[path.name], len(self.opened))

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        return ()


class Stopwatch(Closing):
    inputs: tuple[InputSpec, ...] = ()

    def __init__(self, owner: Stopwatches, law: Law, number: int) -> None:
        self._owner, self._law, self._number = owner, law, number

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return []

    def bind(self, feeds: dict[str, np.ndarray]) -> None: ...

    def time_once(self) -> float:
        self._owner.timed += 1
        return self._law(self._number, self._owner.timed)

    def close(self) -> None:
        self._owner.open_now -= 1


def constant(ms: float) -> Law:
    return lambda _, __: ms


def noisy(ms: float) -> Law:
    """Up to 20 % too slow, by a rule of its own for every call."""
    return lambda _, call: ms * (1 + 0.2 * random.Random(call).random())


def lucky(ms: float, luck: float) -> Law:
    """Off by what a session drew when it was opened, with little noise in its calls."""
    return lambda number, call: (
        ms * (1 + random.Random(-number).gauss(0.0, luck)) * (1 + random.Random(call).gauss(0.0, 0.002))
    )


def compare(
    backend: Backend,
    *,
    roles: tuple[str, ...] = ("dense", "candidate"),
    min_rounds: int = 10,
    max_rounds: int = 200,
    budget_s: float = 30.0,
    seed: int = 0,
    decided: Callable[[dict[str, Ratio]], bool] | None = None,
) -> dict[str, tuple[int, Ratio]]:
    found = compare_files(
        backend,
        TARGET,
        {role: Path(role) for role in roles},
        "dense",
        half_width=0.01,
        min_rounds=min_rounds,
        max_rounds=max_rounds,
        budget_s=budget_s,
        seed=seed,
        decided=decided,
    )
    return {role: (len(measurement.samples_ms), ratio) for role, (measurement, ratio) in found.items()}


def test_steady_files_need_the_least_rounds() -> None:
    rounds, ratio = compare(Stopwatches(dense=constant(4.0), candidate=constant(2.0)))["candidate"]
    assert rounds == 10
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_baseline_is_one_time_itself() -> None:
    found = compare(Stopwatches(dense=noisy(4.0), candidate=noisy(2.0)))
    assert found["dense"] == (found["candidate"][0], Ratio(value=1.0, low=1.0, high=1.0))


def test_every_block_opens_every_file_anew_in_an_order_that_changes() -> None:
    roles = ("dense", "candidate", "other")
    backend = Stopwatches(**dict.fromkeys(roles, noisy(4.0)))
    compare(backend, roles=roles)
    orders = [tuple(backend.opened[i : i + 3]) for i in range(1, len(backend.opened), 3)]
    assert len(orders) >= 5
    assert all(sorted(order) == sorted(roles) for order in orders)
    assert len(set(orders)) >= 3
    assert backend.open_now == 0


def test_what_comes_first_being_slow_is_no_difference() -> None:
    """The first session of every three is 2 % slower, whichever file it is of."""

    def law(number: int, call: int) -> float:
        return (4.08 if number % 3 == 2 else 4.0) * (1 + random.Random(call).gauss(0.0, 0.002))

    held = 0
    for seed in range(40):
        backend = Stopwatches(dense=law, candidate=law, other=law)
        ratio = compare(backend, roles=("dense", "candidate", "other"), seed=seed)["candidate"][1]
        held += ratio.low <= 1.0 <= ratio.high
    assert held >= 34


def test_the_luck_of_opening_is_inside_the_interval() -> None:
    """Blocks are added until the interval suits, and still it holds the truth about as often as it says."""
    held = 0
    for seed in range(60):
        backend = Stopwatches(dense=lucky(4.0, 0.01), candidate=lucky(2.0, 0.01))
        backend.opened = ["earlier"] * 10_000 * seed
        ratio = compare(backend, seed=seed, max_rounds=400)["candidate"][1]
        held += ratio.low <= 0.5 <= ratio.high
    assert 52 <= held < 60


def test_noisy_files_get_more_rounds_until_the_ratio_is_known() -> None:
    rounds, ratio = compare(Stopwatches(dense=noisy(4.0), candidate=noisy(2.0)), max_rounds=3000)["candidate"]
    assert 10 < rounds < 3000
    assert ratio.high - ratio.low <= 2 * 0.01 * ratio.value
    assert ratio.low <= 0.5 <= ratio.high


def test_rounds_end_at_their_limit() -> None:
    assert compare(Stopwatches(dense=noisy(4.0), candidate=noisy(2.0)), max_rounds=12)["candidate"][0] == 12


def test_a_decision_ends_the_rounds_early() -> None:
    backend = Stopwatches(dense=noisy(4.0), candidate=noisy(2.0))
    assert compare(backend, decided=lambda ratios: ratios["candidate"].high < 0.9)["candidate"][0] == 10


def test_the_budget_ends_the_rounds_but_leaves_enough_for_an_interval() -> None:
    backend = Stopwatches(dense=noisy(4.0), candidate=noisy(2.0))
    rounds, ratio = compare(backend, min_rounds=100, budget_s=0.0)["candidate"]
    assert rounds == 3 * 2
    assert ratio.low < ratio.high


def test_the_same_seed_gives_the_same_result() -> None:
    one, again, other = (
        compare(Stopwatches(dense=lucky(4.0, 0.01), candidate=lucky(2.0, 0.01)), seed=seed) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="dense"):
        compare(Stopwatches(candidate=constant(1.0)), roles=("candidate",))


def test_drift_of_the_machine_does_not_move_the_ratio() -> None:
    def slowing(ms: float) -> Law:
        return lambda _, call: ms * (1 + call / 500)

    held = 0
    for seed in range(40):
        backend = Stopwatches(dense=slowing(4.0), candidate=slowing(2.8))
        ratio = compare(backend, min_rounds=60, seed=seed)["candidate"][1]
        assert ratio.value == pytest.approx(0.7, rel=0.01)
        held += ratio.low <= 0.7 <= ratio.high
    assert held >= 34


def test_real_sessions_tell_a_small_model_from_a_large_one(tmp_path: Path) -> None:
    widths = {"dense": 64, "control": 64, "candidate": 16}
    paths = {
        role: write_conv_net(tmp_path / f"{role}.onnx", channels=channels, size=32) for role, channels in widths.items()
    }
    target = Target(backend="onnxruntime")
    found = compare_files(
        get_backend("onnxruntime"),
        target,
        paths,
        "dense",
        half_width=0.01,
        min_rounds=20,
        max_rounds=60,
        budget_s=5.0,
        seed=0,
    )
    assert found["candidate"][1].high < 0.8
    assert 0.5 < found["control"][1].value < 2
