"""Limits beside latency: kept by every plan, at the least loss there is, and refused with the least that can be."""

from __future__ import annotations

import pytest
from made_up_models import Model, Node, brute_force, chain, group, importances, loss_of

from deployprune.errors import UnsupportedModelError
from deployprune.pruning.ceilings import Ceiling
from deployprune.pruning.planner import plan_gap, plan_widths
from deployprune.units import format_count

GROUPS = [group("a", 32), group("b", 64), group("c", 64), group("d", 48)]
DENSE = {g.name: g.size for g in GROUPS}
WEIGHTS = Model(
    (
        Node("ab", ("a", "b"), lambda w: 9 * w["a"] * w["b"]),
        Node("bc", ("b", "c"), lambda w: 9 * w["b"] * w["c"]),
        Node("d", ("d",), lambda w: 10 * w["d"]),
    ),
    constant_ms=27,
)
LATENCY = chain(GROUPS)


def ceiling(share: float) -> Ceiling:
    return Ceiling(name="parameters", model=WEIGHTS, limit=share * WEIGHTS.predict_ms(DENSE), text=format_count)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
@pytest.mark.parametrize("fast", [0.8, 0.5])
def test_equals_brute_force_under_a_latency_and_a_ceiling(share: float, fast: float) -> None:
    importance, highs = importances(GROUPS), fast * LATENCY.predict_ms(DENSE)
    limit = ceiling(share)
    options = {"channel_step": 8, "max_candidates": 6}
    plan = plan_widths(GROUPS, importance, {"x": LATENCY}, {"x": (0.0, highs)}, ceilings=[limit], **options)
    both = {"x": (0.0, highs), "y": (0.0, limit.limit)}
    best = brute_force(GROUPS, importance, {"x": LATENCY, "y": WEIGHTS}, both, **options)
    assert loss_of(plan.widths, GROUPS, importance) == pytest.approx(best, rel=1e-6)
    assert limit.count(plan.widths) <= limit.limit
    assert list(plan.target_ratio) == ["x"], "a ceiling is no latency target"
    gap = plan_gap(plan.widths, GROUPS, importance, {"x": LATENCY}, {"x": highs}, ceilings=[limit], **options)
    assert gap == pytest.approx(0.0, abs=1e-3)


def test_a_ceiling_may_leave_a_budget_unused() -> None:
    dense = LATENCY.predict_ms(DENSE)
    limit = ceiling(0.3)
    band = {"x": (0.95 * dense, dense)}
    plan = plan_widths(GROUPS, importances(GROUPS), {"x": LATENCY}, band, channel_step=8, ceilings=[limit])
    assert limit.is_used_up(limit.count(plan.widths))
    assert plan.predicted_ratio["x"] < 0.95


def test_a_ceiling_out_of_reach_is_refused_with_the_least_that_can_be() -> None:
    limit = ceiling(0.001)
    least = format_count(round(WEIGHTS.predict_ms({g.name: 2 for g in GROUPS})))
    band = {"x": (0.0, LATENCY.predict_ms(DENSE))}
    with pytest.raises(UnsupportedModelError, match=f"for parameters is below the least of {least}") as caught:
        plan_widths(GROUPS, importances(GROUPS), {"x": LATENCY}, band, channel_step=8, ceilings=[limit])
    assert caught.value.hint == f"allow more than {least}, or lower pruning.min_width"


def test_a_measured_count_shifts_what_is_counted() -> None:
    limit = ceiling(0.5).calibrated(DENSE, 1000.0 + WEIGHTS.predict_ms(DENSE))
    narrow = {**DENSE, "a": 8}
    assert limit.count(narrow) == pytest.approx(1000.0 + WEIGHTS.predict_ms(narrow))
    assert limit.band().high == pytest.approx(limit.limit - 1000.0)
