from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployprune.errors import UsageError
from deployprune.records import Ratio
from deployprune.stats import (
    bootstrap_ratio,
    carry_over,
    half_width,
    ratio_over_blocks,
    ratio_over_sittings,
    split_half_noise,
)

ROUNDS = 120


def paired(seed: int, ratio: float, drift: np.ndarray, noise: float = 0.01) -> tuple[list[float], list[float]]:
    """Candidate and baseline samples that share each round's ``drift`` and have noise of their own."""
    generator = np.random.default_rng(seed)
    baseline = drift * (1 + noise * generator.standard_normal(len(drift)))
    candidate = ratio * drift * (1 + noise * generator.standard_normal(len(drift)))
    return candidate.tolist(), baseline.tolist()


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    steady = np.full(ROUNDS, 5.0)
    held = 0
    for seed in range(200):
        ratio = bootstrap_ratio(*paired(seed, 0.5, steady), seed=seed, resamples=500)
        held += ratio.low <= 0.5 <= ratio.high
    assert 0.90 <= held / 200 <= 0.99


def test_drift_that_both_sides_share_does_not_widen_the_interval() -> None:
    steady = np.full(ROUNDS, 5.0)
    drifting = 5.0 * (1 + 0.5 * np.sin(np.linspace(0, 9, ROUNDS)))
    calm, stormy = (bootstrap_ratio(*paired(1, 0.7, drift)) for drift in (steady, drifting))
    assert stormy.value == pytest.approx(calm.value)
    assert half_width(stormy) == pytest.approx(half_width(calm))


def test_a_slow_spell_that_begins_inside_a_round_does_not_move_the_ratio() -> None:
    """Nearly half of the rounds slow, three of them for one side only: the two medians are of different spells."""
    candidate, baseline = paired(2, 0.7, np.repeat([5.0, 10.0], [59, 59]))
    candidate += [0.7 * 5.0] * 3
    baseline += [10.0] * 3
    assert bootstrap_ratio(candidate, baseline).value == pytest.approx(0.7, rel=0.01)
    assert np.median(candidate) / np.median(baseline) < 0.7 * 0.6


def test_spikes_of_other_processes_do_not_move_the_ratio() -> None:
    candidate, baseline = paired(3, 0.7, np.full(ROUNDS, 5.0))
    for i in range(0, ROUNDS, 8):
        candidate[i] *= 10
        baseline[i + 3] *= 10
    assert bootstrap_ratio(candidate, baseline).value == pytest.approx(0.7, rel=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    sides = paired(4, 0.9, np.full(200, 1.0))
    one, again, other = (bootstrap_ratio(*sides, seed=seed, resamples=100) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_more_confidence_is_wider() -> None:
    sides = paired(5, 0.9, np.full(60, 1.0))
    assert half_width(bootstrap_ratio(*sides, confidence=0.99)) > half_width(bootstrap_ratio(*sides, confidence=0.8))


@pytest.mark.parametrize(("candidate", "baseline"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_sides_that_are_not_paired_are_refused(candidate: list[float], baseline: list[float]) -> None:
    with pytest.raises(UsageError, match="paired"):
        bootstrap_ratio(candidate, baseline)


def test_split_half_noise_sees_drift_and_only_drift() -> None:
    assert split_half_noise([2.0] * 10) == 0
    assert split_half_noise([1.0] * 10 + [1.1] * 10) == pytest.approx(0.1 / 1.05)
    with pytest.raises(UsageError):
        split_half_noise([1.0])


def opened_anew(
    seed: int, ratio: float, count: int, rounds: int, luck: float, noise: float = 0.01
) -> list[tuple[list[float], list[float]]]:
    """Blocks of rounds; all rounds of a block share each side's ``luck``."""
    generator = np.random.default_rng(seed)
    blocks = []
    for _ in range(count):
        sides = (
            5.0 * (1 + luck * generator.standard_normal((2, 1))) * (1 + noise * generator.standard_normal((2, rounds)))
        )
        blocks.append(((ratio * sides[0]).tolist(), sides[1].tolist()))
    return blocks


def times_held(found: list[Ratio], truth: float) -> float:
    return sum(ratio.low <= truth <= ratio.high for ratio in found) / len(found)


@pytest.mark.parametrize("luck", [0.0, 0.003, 0.03])
@pytest.mark.parametrize(("count", "rounds"), [(5, 10), (12, 4)])
def test_the_interval_over_blocks_holds_the_truth_whatever_the_luck(luck: float, count: int, rounds: int) -> None:
    found = [ratio_over_blocks(opened_anew(seed, 0.7, count, rounds, luck)) for seed in range(600)]
    assert 0.92 <= times_held(found, 0.7) <= 0.98


def test_an_interval_over_rounds_alone_misses_the_luck_of_opening() -> None:
    found = []
    for seed in range(100):
        candidates, baselines = zip(*opened_anew(seed, 1.0, 1, 100, 0.01), strict=True)
        found.append(bootstrap_ratio(candidates[0], baselines[0], resamples=200))
    assert times_held(found, 1.0) < 0.5


@given(st.floats(0.1, 3.0), st.integers(2, 9), st.integers(1, 6), st.integers(0, 1000))
def test_the_ratio_over_blocks_does_not_depend_on_units_or_on_which_side_is_the_baseline(
    factor: float, count: int, rounds: int, seed: int
) -> None:
    blocks = opened_anew(seed, 0.8, count, rounds, 0.01)
    there = ratio_over_blocks(blocks)
    back = ratio_over_blocks([(baseline, candidate) for candidate, baseline in blocks])
    scaled = ratio_over_blocks([([factor * x for x in a], [factor * x for x in b]) for a, b in blocks])
    assert (1 / back.value, 1 / back.high, 1 / back.low) == pytest.approx((there.value, there.low, there.high))
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx((there.value, there.low, there.high))


def test_blocks_that_agree_leave_no_doubt() -> None:
    ratio = ratio_over_blocks([([1.0, 1.0], [2.0, 2.0])] * 3)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    "blocks", [[], [([1.0], [1.0])], [([1.0], [1.0]), ([1.0, 2.0], [1.0])], [([1.0], [1.0]), ([], [])]]
)
def test_blocks_that_cannot_be_compared_are_refused(blocks: list[tuple[list[float], list[float]]]) -> None:
    with pytest.raises(UsageError, match="blocks"):
        ratio_over_blocks(blocks)


def about(value: float, half: float = 0.01) -> Ratio:
    return Ratio(value=value, low=value * (1 - half), high=value * (1 + half))


def test_sittings_that_agree_narrow_the_interval_and_those_that_do_not_widen_it() -> None:
    once = about(0.5)
    assert ratio_over_sittings([once]) == once
    agreed = ratio_over_sittings([once, about(0.502)])
    assert agreed.value == pytest.approx(0.501, rel=1e-4)
    assert half_width(agreed) == pytest.approx(0.01 / 2**0.5, rel=0.02)
    apart = ratio_over_sittings([once, about(0.53)])
    assert apart.low < 0.5
    assert apart.high > 0.53
    assert half_width(ratio_over_sittings([once, about(0.53), about(0.515)])) < half_width(apart)


def test_intervals_over_sittings_hold_the_truth_more_often_than_one_sitting_where_there_are_spells() -> None:
    rng = np.random.default_rng(0)
    held = {1: 0, 3: 0}
    for _ in range(1000):
        spells = 1.0 + 0.015 * rng.normal(size=3)
        for count in held:
            found = ratio_over_sittings([about(0.5 * spell, 0.006) for spell in spells[:count]])
            held[count] += found.low <= 0.5 <= found.high
    assert held[1] < 400
    assert held[3] > 750


def test_a_sitting_is_carried_over_to_a_file_that_was_timed_beside() -> None:
    """The spell of the sitting that both were in cancels."""
    found = carry_over(about(0.50), about(0.55 * 1.08), about(0.50 * 1.08))
    assert found.value == pytest.approx(0.55)
    assert half_width(found) == pytest.approx(0.01 * 3**0.5, rel=0.02)


def test_no_sitting_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        ratio_over_sittings([])
