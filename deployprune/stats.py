"""Paired ratios and noise of latency samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployprune.errors import UsageError
from deployprune.records import Ratio

__all__ = [
    "bootstrap_ratio",
    "carry_over",
    "half_width",
    "ratio_over_blocks",
    "ratio_over_sittings",
    "split_half_noise",
]

_NORMAL_95 = 1.96


def bootstrap_ratio(
    candidate: Sequence[float],
    baseline: Sequence[float],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Ratio:
    """How long ``candidate`` takes relative to ``baseline``; ``candidate[i]`` and ``baseline[i]`` are of one round.

    The value is the median of the rounds' own ratios and not the ratio of two medians. A shared machine has slow
    spells: in a round both sides are mostly in the same spell and its factor cancels, while two medians over all
    rounds, once about half of them are slow, fall into different spells because of the few rounds that a spell began
    in. Where there is no drift both have the same variance, and a spike, which may hit either side, moves the median
    of ratios up as often as down.

    The interval is the percentile bootstrap over rounds (Efron 1979), which are resampled as pairs. Raises UsageError
    for fewer than two rounds or sides of different length.
    """
    if len(candidate) != len(baseline) or len(candidate) < 2:
        raise UsageError(
            f"a paired ratio needs two sides of at least 2 rounds, not {len(candidate)} and {len(baseline)}",
            hint="time both sides in the same rounds",
        )
    ratios = np.asarray(candidate, dtype=float) / np.asarray(baseline, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(ratios), (resamples, len(ratios)))
    medians = np.median(ratios[picks], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high), confidence=confidence)


def ratio_over_blocks(blocks: Sequence[tuple[Sequence[float], Sequence[float]]], *, confidence: float = 0.95) -> Ratio:
    """How long a candidate takes relative to a baseline; a block is (candidate, baseline), paired by rounds.

    In every block both files were opened anew. Where a runtime's memory came to lie is luck that lasts as long as a
    session (Mytkowicz et al. 2009), so the rounds of a block share it and no number of them averages it away: the
    block is what repeats independently (Kalibera and Jones 2013). Each gives one number, the logarithm of the median
    of its rounds' ratios; the value is their mean and the interval Student's, so that the luck of opening and the
    noise of rounds are both inside, in whatever mix. Raises UsageError for fewer than two blocks, or for a block
    without rounds or with sides of different length.
    """
    from scipy.special import stdtrit

    if len(blocks) < 2 or any(not candidate or len(candidate) != len(baseline) for candidate, baseline in blocks):
        raise UsageError(
            f"a ratio over blocks needs at least 2 of paired rounds, not {len(blocks)}",
            hint="open and time both sides several times, in the same rounds",
        )
    logs = np.array([np.median(np.log(np.divide(candidate, baseline))) for candidate, baseline in blocks])
    reach = stdtrit(len(logs) - 1, (1 + confidence) / 2) * logs.std(ddof=1) / np.sqrt(len(logs))
    return _around(float(logs.mean()), float(reach), confidence)


def ratio_over_sittings(ratios: Sequence[Ratio]) -> Ratio:
    """One ratio from several measurements of it at different times, each with its 95 % interval.

    A machine has spells of minutes in which a ratio is off by more than the rounds of one sitting show, for they all
    lie in the same spell. The value is the geometric mean, and the interval that of the sittings' own; but where they
    differ by more than their intervals explain it is widened by the factor that makes them agree (Birge 1932; the
    "scale factor" of the Particle Data Group's averages). It is no Student's interval over the sittings, which for two
    would be six times as wide also where they agree. Raises UsageError where there are none.
    """
    if not ratios:
        raise UsageError("a ratio over sittings needs at least one of them", hint="time both sides once")
    if len(ratios) == 1:
        return ratios[0]
    logs = np.log([ratio.value for ratio in ratios])
    own = np.sqrt(sum(_log_reach(ratio) ** 2 for ratio in ratios)) / len(ratios)
    reach = max(own, _NORMAL_95 * logs.std(ddof=1) / np.sqrt(len(ratios)))
    return _around(float(logs.mean()), float(reach), ratios[0].confidence)


def carry_over(ratio: Ratio, own: Ratio, beside: Ratio) -> Ratio:
    """What ``ratio``, of a file in another sitting, says of one that took ``own`` when that file took ``beside``.

    A spell is much the same for two files that were timed in the same rounds, so that it cancels.
    """
    reach = float(np.sqrt(sum(_log_reach(each) ** 2 for each in (ratio, own, beside))))
    return _around(float(np.log(ratio.value * own.value / beside.value)), reach, ratio.confidence)


def _log_reach(ratio: Ratio) -> float:
    return float(np.log(ratio.high / ratio.low)) / 2


def _around(middle: float, reach: float, confidence: float) -> Ratio:
    value, low, high = np.exp([middle, middle - reach, middle + reach])
    return Ratio(value=float(value), low=float(low), high=float(high), confidence=confidence)


def half_width(ratio: Ratio) -> float:
    """Half the width of the interval, relative to the value."""
    return (ratio.high - ratio.low) / (2 * ratio.value)


def split_half_noise(samples: Sequence[float]) -> float:
    """How much the medians of the first and the second half differ, relative to the median: drift and noise together.

    Raises UsageError for fewer than two samples.
    """
    if len(samples) < 2:
        raise UsageError(f"noise needs at least 2 samples, not {len(samples)}", hint="measure more rounds")
    values = np.asarray(samples, dtype=float)
    middle = len(values) // 2
    first, second = np.median(values[:middle]), np.median(values[middle:])
    return float(abs(first - second) / np.median(values))
