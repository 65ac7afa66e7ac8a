from __future__ import annotations

import numpy as np
import pytest

from deployprune.errors import UsageError
from deployprune.stats import bootstrap_ratio, half_width, split_half_noise

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
