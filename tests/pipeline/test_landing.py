"""The closed loop on made-up runtimes: it lands, soon, on one target and on two, and never beyond a goal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from staircase import Bench

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.landing import land
from deployprune.pipeline.trials import BAND
from deployprune.records import Plan

SEEDS = range(6)


class Unwatched:
    def update(self, fraction: float, note: str = "") -> None:
        assert 0.0 <= fraction <= 1.0

    def finish(self, summary: str) -> None: ...


def run(bench: Bench) -> Plan:
    return land(bench.problem, bench.stopwatch, Unwatched())


@pytest.mark.parametrize("seed", SEEDS)
def test_lands_on_one_target_within_five_turns(seed: int) -> None:
    bench = Bench.random(seed, targets=1)
    plan = run(bench)
    assert len(plan.trail) <= 5
    assert all(BAND[0] <= share <= BAND[1] for share in bench.shares(plan.widths).values())
    assert plan.gap <= 0.06


@pytest.mark.parametrize("seed", SEEDS)
def test_uses_up_what_binds_of_two_targets_within_five_turns(seed: int) -> None:
    bench = Bench.random(seed, targets=2)
    plan = run(bench)
    shares = bench.shares(plan.widths).values()
    assert len(plan.trail) <= 5
    assert BAND[0] <= max(shares) <= BAND[1]


def test_lands_on_both_of_two_targets_where_they_are_alike() -> None:
    landed = 0
    for seed in SEEDS:
        bench = Bench.random(seed, targets=2, alike=True)
        landed += all(BAND[0] <= share <= BAND[1] for share in bench.shares(run(bench).widths).values())
    assert landed == len(SEEDS)


@pytest.mark.parametrize("seed", range(2))
def test_times_no_widths_twice_and_keeps_the_trail(seed: int) -> None:
    bench = Bench.random(seed, targets=2)
    plan = run(bench)
    assert [step.widths for step in plan.trail] == bench.timed
    assert all(bench.timed.count(widths) == 1 for widths in bench.timed)
    assert plan.widths in bench.timed
    assert plan.target_ratio == bench.problem.goals


def test_comes_down_where_the_first_plans_are_all_too_slow() -> None:
    """A runtime that became much slower for pruned models than it was when the table was measured."""
    bench = Bench.random(4, targets=1)
    slower = {key: replace(runtime, rate=runtime.rate * 1.5) for key, runtime in bench.runtimes.items()}
    plan = run(replace(bench, runtimes=slower))
    measured = [ratio.high / bench.problem.goals[key] for key, ratio in plan.trail[0].measured.items()]
    assert max(measured) > BAND[1]
    best = next(step for step in plan.trail if step.widths == plan.widths)
    assert all(ratio.high <= bench.problem.goals[key] for key, ratio in best.measured.items())


def test_names_the_floor_of_a_goal_that_nothing_reaches() -> None:
    bench = Bench.random(1, targets=1)
    problem = replace(bench.problem, goals=dict.fromkeys(bench.problem.goals, 0.01))
    with pytest.raises(UnsupportedModelError, match="floor"):
        land(problem, bench.stopwatch, Unwatched())
    assert not bench.timed
