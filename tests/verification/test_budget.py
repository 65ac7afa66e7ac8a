from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from deployprune.records import Ratio, Verdict
from deployprune.verification.budget import TOLERANCE, Difference, combine, judge, tell_apart

QUIET = Ratio(value=1.0, low=0.998, high=1.002)
ORDER = {Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}

values = st.floats(0.05, 2.0)
widths = st.floats(0.0, 0.2)
targets = st.floats(0.1, 1.5)
budgets = st.floats(0.1, 1.0)  # above 1 "not shown to be slower than dense" is asked too, which noise makes easier


def around(value: float, width: float) -> Ratio:
    return Ratio(value=value, low=value * (1 - width), high=value * (1 + width))


def controls() -> st.SearchStrategy[Ratio]:
    return st.builds(around, st.floats(0.9, 1.1), st.floats(0.0, 0.1))


@pytest.mark.parametrize(
    ("ratio", "target", "expected"),
    [
        (around(0.487, 0.01), 0.5, Verdict.PASS),
        (around(0.5, 0.004), 0.5, Verdict.PASS),
        (around(0.487, 0.04), 0.5, Verdict.INCONCLUSIVE),
        (around(0.52, 0.01), 0.5, Verdict.FAIL),
        (around(0.52, 0.05), 0.5, Verdict.INCONCLUSIVE),
        (around(1.05, 0.01), 1.2, Verdict.FAIL),
        (around(1.0, 0.01), 1.2, Verdict.PASS),
    ],
)
def test_known_cases(ratio: Ratio, target: float, expected: Verdict) -> None:
    verdict, reason = judge(ratio, target, QUIET)
    assert verdict is expected
    assert f"{target:.3f}" in reason


@given(values, widths, targets, controls())
def test_pass_means_fast_enough_and_not_slower_than_dense(
    value: float, width: float, target: float, control: Ratio
) -> None:
    ratio = around(value, width)
    verdict, _ = judge(ratio, target, control)
    if verdict is Verdict.PASS:
        assert ratio.high <= target * (1 + TOLERANCE)
        assert tell_apart(ratio, control) is not Difference.SLOWER
    if verdict is Verdict.FAIL:
        assert ratio.low > target or ratio.low > 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.90, 0.99, Difference.FASTER),
        (0.98, 0.996, Difference.NONE),
        (0.90, 1.10, Difference.NONE),
        (1.004, 1.03, Difference.NONE),
        (1.006, 1.03, Difference.SLOWER),
    ],
)
def test_a_difference_is_shown_by_the_whole_interval(low: float, high: float, expected: Difference) -> None:
    ratio = Ratio(value=(low + high) / 2, low=low, high=high)
    assert tell_apart(ratio, QUIET) is expected
    assert tell_apart(ratio, around(1.0, 0.06)) is Difference.NONE
    assert tell_apart(ratio, Ratio(value=1.15, low=1.12, high=1.18)) is Difference.NONE


@given(values, widths, controls())
def test_swapping_the_sides_swaps_the_difference(value: float, width: float, control: Ratio) -> None:
    ratio = around(value, width)
    swapped = Ratio(value=1 / ratio.value, low=1 / ratio.high, high=1 / ratio.low)
    opposite = {Difference.FASTER: Difference.SLOWER, Difference.SLOWER: Difference.FASTER}
    found = tell_apart(ratio, control)
    assert tell_apart(swapped, control) is opposite.get(found, found)


@given(values, st.floats(0.0, 1.0), widths, targets, controls())
def test_a_slower_candidate_never_gets_a_better_verdict(
    value: float, more: float, width: float, target: float, control: Ratio
) -> None:
    fast, slow = (judge(around(v, width), target, control)[0] for v in (value, value * (1 + more)))
    assert ORDER[slow] <= ORDER[fast]


@given(values, widths, targets, st.floats(0.0, 1.0), controls())
def test_a_looser_target_never_gets_a_worse_verdict(
    value: float, width: float, target: float, more: float, control: Ratio
) -> None:
    tight, loose = (judge(around(value, width), t, control)[0] for t in (target, target * (1 + more)))
    assert ORDER[loose] >= ORDER[tight]


@given(values, widths, st.floats(0.0, 0.2), budgets, controls())
@example(value=0.5024, width=0.0, more=0.0003, target=0.5, control=QUIET)
def test_less_precision_never_turns_a_verdict_around(
    value: float, width: float, more: float, target: float, control: Ratio
) -> None:
    sharp = judge(around(value, width), target, control)[0]
    blurred = judge(around(value, width + more), target, control)[0]
    assert blurred in (sharp, Verdict.INCONCLUSIVE)


@given(values, widths, targets, st.floats(0.06, 0.5))
def test_a_noisy_machine_decides_nothing(value: float, width: float, target: float, noise: float) -> None:
    verdict, reason = judge(around(value, width), target, around(1.0, noise))
    assert verdict is Verdict.INCONCLUSIVE
    assert "noisy" in reason


@given(values, widths, budgets, controls())
def test_a_biased_control_only_makes_the_verdict_more_careful(
    value: float, width: float, target: float, control: Ratio
) -> None:
    trusted = judge(around(value, width), target, Ratio(value=1.0, low=1.0, high=1.0))[0]
    assert judge(around(value, width), target, control)[0] in (trusted, Verdict.INCONCLUSIVE)


def test_a_bias_as_large_as_the_margin_takes_the_pass_away() -> None:
    ratio = around(0.49, 0.005)
    assert judge(ratio, 0.5, QUIET)[0] is Verdict.PASS
    biased = Ratio(value=1.04, low=1.035, high=1.045)
    verdict, reason = judge(ratio, 0.5, biased)
    assert verdict is Verdict.INCONCLUSIVE
    assert "1.035" in reason


@given(st.floats(0, 0.1), st.floats(0, 0.1))
def test_accuracy_counts_when_measured_and_limited(drop: float, limit: float) -> None:
    assume(drop != limit)
    fast = around(0.4, 0.01)
    verdict, reason = judge(fast, 0.5, QUIET, accuracy_drop=drop, max_accuracy_drop=limit)
    assert verdict is (Verdict.FAIL if drop > limit else Verdict.PASS)
    assert ("accuracy" in reason) == (drop > limit)
    assert judge(fast, 0.5, QUIET, accuracy_drop=None, max_accuracy_drop=limit)[0] is Verdict.PASS
    assert judge(fast, 0.5, QUIET, accuracy_drop=drop)[0] is Verdict.PASS


@given(st.lists(st.sampled_from(Verdict)))
def test_several_verdicts_are_as_good_as_their_worst(verdicts: list[Verdict]) -> None:
    expected = min(verdicts, key=ORDER.__getitem__, default=Verdict.INCONCLUSIVE)
    assert combine(verdicts) is expected
    assert combine(iter(verdicts)) is expected
