"""Plans are optimal where that can be counted out, near it where not, and within their budgets always."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up_models import Model, Node, attention, brute_force, chain, conv, dense_block, group, importances, loss_of

from deployprune.errors import UnsupportedModelError, UsageError
from deployprune.pruning import program, search
from deployprune.pruning.candidates import Choice, Region, choices
from deployprune.pruning.planner import floor_ms, plan_widths
from deployprune.pruning.polish import Limit, polish, within
from deployprune.pruning.program import Solution
from deployprune.records import ChannelGroup, LatencyModel

SMALL = [group("a", 32), group("b", 64), group("c", 64), group("d", 48)]
HEADS = [group("embed", 64), group("heads", 4), group("dim", 32)]


def dense_ms(model: LatencyModel, groups: list[ChannelGroup]) -> float:
    return model.predict_ms({g.name: g.size for g in groups})


@pytest.mark.parametrize("share", [0.85, 0.6, 0.45, 0.35])
@pytest.mark.parametrize("seed", range(3))
def test_equals_brute_force_on_a_chain(share: float, seed: int) -> None:
    model, importance = chain(SMALL, seed), importances(SMALL, seed)
    limits = {"x": (0.0, share * dense_ms(model, SMALL))}
    plan = plan_widths(SMALL, importance, {"x": model}, limits, channel_step=8, max_candidates=6)
    best = brute_force(SMALL, importance, {"x": model}, limits, channel_step=8, max_candidates=6)
    assert loss_of(plan.widths, SMALL, importance) == pytest.approx(best, rel=1e-6)
    assert plan.loss == pytest.approx(1.0 - math.exp(-best), rel=1e-6)
    assert plan.gap < 1e-6


@pytest.mark.parametrize("share", [0.8, 0.6, 0.5])
def test_equals_brute_force_on_two_targets_with_a_band(share: float) -> None:
    models = {"x": chain(SMALL, 0), "y": chain(SMALL, 1)}
    importance = importances(SMALL)
    limits = {key: (0.93 * share * dense_ms(m, SMALL), share * dense_ms(m, SMALL)) for key, m in models.items()}
    plan = plan_widths(SMALL, importance, models, limits, channel_step=8, max_candidates=6)
    best = brute_force(SMALL, importance, models, limits, channel_step=8, max_candidates=6)
    assert loss_of(plan.widths, SMALL, importance) == pytest.approx(best, rel=1e-6)
    for key, (low, high) in limits.items():
        assert low <= models[key].predict_ms(plan.widths) <= high * (1 + 1e-6)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
@pytest.mark.parametrize("seed", range(2))
def test_is_near_brute_force_on_concatenations(share: float, seed: int) -> None:
    groups = [group("a", 32), *(group(f"g{i}", 24) for i in range(4)), group("z", 64)]
    model, importance = dense_block(groups, seed), importances(groups, seed)
    limits = {"x": (0.0, share * dense_ms(model, groups))}
    plan = plan_widths(groups, importance, {"x": model}, limits, channel_step=8, max_candidates=4)
    best = brute_force(groups, importance, {"x": model}, limits, channel_step=8, max_candidates=4)
    assert model.predict_ms(plan.widths) <= limits["x"][1] * (1 + 1e-6)
    assert loss_of(plan.widths, groups, importance) - best < 0.01


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_is_near_brute_force_on_heads_times_dimensions(share: float) -> None:
    model, importance = attention(HEADS), importances(HEADS)
    limits = {"x": (0.0, share * dense_ms(model, HEADS))}
    plan = plan_widths(HEADS, importance, {"x": model}, limits, channel_step=8, max_candidates=8)
    best = brute_force(HEADS, importance, {"x": model}, limits, channel_step=8, max_candidates=8)
    assert model.predict_ms(plan.widths) <= limits["x"][1] * (1 + 1e-6)
    assert loss_of(plan.widths, HEADS, importance) - best < 0.01


def test_a_hundred_groups_in_twenty_seconds() -> None:
    groups = [group(f"g{i}", (64, 128, 256, 512)[i // 25]) for i in range(100)]
    model, importance = chain(groups), importances(groups)
    dense = dense_ms(model, groups)
    start = time.monotonic()
    plan = plan_widths(groups, importance, {"x": model}, {"x": (0.475 * dense, 0.5 * dense)}, channel_step=16)
    assert time.monotonic() - start < 20
    assert plan.gap <= 0.01
    assert 0.475 <= plan.predicted_ratio["x"] <= 0.5 + 1e-6


def test_a_solver_out_of_time_leaves_the_bound_that_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [group("a", 32), *(group(f"g{i}", 32) for i in range(5))]
    model, importance = dense_block(groups), importances(groups)
    limits = {"x": (0.0, 0.5 * dense_ms(model, groups))}
    first = {}

    def in_time_once(choices: Sequence[Choice], *args: Any, **options: Any) -> Solution:
        key = tuple(choice.widths for choice in choices)
        if key in first:
            return replace(first[key], bound=-np.inf)
        first[key] = program.solve(choices, *args, **options)
        return first[key]

    monkeypatch.setattr(search, "solve", in_time_once)
    assert plan_widths(groups, importance, {"x": model}, limits, channel_step=8).gap < 0.1
    assert first


def test_past_its_time_the_planner_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concatenations are solved again where the last answer lies, but not when the time is up."""
    groups = [group("a", 32), *(group(f"g{i}", 32) for i in range(5))]
    model, importance = dense_block(groups), importances(groups)
    limits = {"x": (0.0, 0.5 * dense_ms(model, groups))}
    solved: list[float] = []

    def counted(*args: Any, **options: Any) -> Solution:
        solved.append(options["time_limit_s"])
        return program.solve(*args, **options)

    monkeypatch.setattr(search, "solve", counted)
    hasty = plan_widths(groups, importance, {"x": model}, limits, channel_step=8, time_limit_s=1e-3)
    assert len(solved) == 1
    assert hasty.predicted_ratio["x"] <= 0.5
    solved.clear()
    calm = plan_widths(groups, importance, {"x": model}, limits, channel_step=8, time_limit_s=10.0)
    assert len(solved) > 1
    assert max(solved) <= 0.8 * 10.0
    assert calm.gap <= hasty.gap + 1e-9


def test_insists_on_widths_only_where_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the deadline, where no round found any within the limits: all rounds are made, or the first was the last."""
    groups = [group("a", 32), *(group(f"g{i}", 32) for i in range(5))]
    model, importance = dense_block(groups), importances(groups)
    menu = choices(groups, importance, max_candidates=6, channel_step=8)
    limits = [Limit(model=model, low=0.0, high=0.5 * dense_ms(model, groups))]
    asked: list[dict[str, int]] = []

    def astray(widths: dict[str, int], *_: Any) -> dict[str, int]:
        asked.append(widths)
        return {g.name: g.size - 8 * (len(asked) % 2) for g in groups}

    monkeypatch.setattr(search, "polish", astray)
    assert search.search(menu, limits, time.monotonic(), insist=False) is None
    assert len(asked) == 1
    assert search.search(menu, limits, time.monotonic()) is None
    assert len(asked) > 2


def test_past_its_time_polishing_only_mends() -> None:
    """Widths that are too slow are brought within the limits, and what is within them is left as it is."""
    model, importance = chain(SMALL), importances(SMALL)
    menu = choices(SMALL, importance, max_candidates=8, channel_step=8)
    limits = [Limit(model=model, low=0.0, high=0.5 * dense_ms(model, SMALL))]
    past = time.monotonic()
    dense, narrow = {g.name: g.size for g in SMALL}, {choice.group: choice.widths[0] for choice in menu}
    assert within(polish(dense, menu, limits, deadline=past), limits)
    assert polish(narrow, menu, limits, deadline=past) == narrow
    better = polish(narrow, menu, limits)
    assert within(better, limits)
    assert loss_of(better, SMALL, importance) < loss_of(narrow, SMALL, importance)


def test_keeps_the_most_important_units_and_says_what_is_lost() -> None:
    model, importance = chain(SMALL), importances(SMALL)
    plan = plan_widths(SMALL, importance, {"x": model}, {"x": (0.0, 0.5 * dense_ms(model, SMALL))}, channel_step=8)
    passed, whole = 1.0, sum(float(importance[g.name].sum()) for g in SMALL)
    for g in SMALL:
        units = plan.kept[g.name]
        gone = set(range(g.size)) - set(units)
        assert list(units) == sorted(set(units))
        assert len(units) == plan.widths[g.name]
        assert not gone or importance[g.name][list(gone)].max() <= importance[g.name][list(units)].min()
        mine = float(importance[g.name].sum())
        passed *= (float(importance[g.name][list(units)].sum()) / mine) ** (mine / whole)
    assert 0.0 < plan.loss == pytest.approx(1.0 - passed)


def test_widths_are_legal_and_on_the_step() -> None:
    groups = [group("a", 32, minimum=10), group("b", 64, step=4, minimum=8), group("c", 100), group("d", 6)]
    model, importance = chain(groups), importances(groups)
    plan = plan_widths(groups, importance, {"x": model}, {"x": (0.0, 0.6 * dense_ms(model, groups))}, channel_step=8)
    for g in groups:
        width = plan.widths[g.name]
        assert g.minimum <= width <= g.size
        assert width == g.size or width % g.aligned_step(8) == 0


def test_a_budget_above_dense_keeps_everything() -> None:
    model = chain(SMALL)
    plan = plan_widths(SMALL, importances(SMALL), {"x": model}, {"x": (0.0, 2 * dense_ms(model, SMALL))})
    assert plan.widths == {g.name: g.size for g in SMALL}
    assert plan.loss == 0.0
    assert plan.predicted_ratio["x"] == pytest.approx(1.0)


def test_lands_in_the_band_on_a_finer_step_where_the_coarse_one_cannot() -> None:
    groups = [group("a", 64)]
    model = Model((Node("n", ("a",), lambda w: 0.01 * w["a"]),), constant_ms=0.0)
    plan = plan_widths(groups, importances(groups), {"x": model}, {"x": (0.385, 0.405)}, channel_step=16)
    assert plan.widths == {"a": 40}


def test_drops_the_low_end_where_no_widths_lie_in_the_band() -> None:
    groups = [group("a", 64, step=32, minimum=32)]
    model = Model((Node("n", ("a",), lambda w: 0.01 * w["a"]),), constant_ms=0.0)
    plan = plan_widths(groups, importances(groups), {"x": model}, {"x": (0.5, 0.6)}, channel_step=8)
    assert plan.widths == {"a": 32}


def test_drops_the_low_ends_where_two_targets_contradict() -> None:
    groups = [group("a", 64)]
    models = {
        "x": Model((Node("n", ("a",), lambda w: 0.01 * w["a"]),), constant_ms=0.0),
        "y": Model((Node("n", ("a",), lambda w: 0.001 * w["a"]),), constant_ms=1.0),
    }
    plan = plan_widths(groups, importances(groups), models, {"x": (0.3, 0.32), "y": (1.05, 1.07)}, channel_step=8)
    assert plan.widths == {"a": 32}


@pytest.mark.parametrize("region", [None, Region(centre={"a": 28, "b": 48}, reach=0.25)])
def test_does_not_pay_importance_to_use_up_a_budget_that_does_not_bind(region: Region | None) -> None:
    """Both budgets can be used up, but only by widths that keep clearly less than some that are faster on one."""
    groups = [group("a", 64), group("b", 64)]
    rates = {"x": {"a": 0.01, "b": 0.01}, "y": {"a": 0.002, "b": 0.018}}
    models = {key: linear_model(rate) for key, rate in rates.items()}
    limits = {"x": (0.74, 0.768), "y": (1.03, 1.075)}
    importance = importances(groups)
    loss = brute_force(groups, importance, models, limits, channel_step=2, max_candidates=99)
    plan = plan_widths(groups, importance, models, limits, channel_step=4, region=region)
    assert loss_of(plan.widths, groups, importance) < loss - 0.02
    assert models["x"].predict_ms(plan.widths) > limits["x"][0]
    assert models["y"].predict_ms(plan.widths) < limits["y"][0]


def linear_model(rates: Mapping[str, float]) -> Model:
    """So many ms a channel of each group."""
    return Model(tuple(Node(name, (name,), lambda w, n=name: rates[n] * w[n]) for name in rates), constant_ms=0.0)


def test_corrections_scale_what_is_held_against_the_limits() -> None:
    model, importance = chain(SMALL), importances(SMALL)
    high = 0.5 * dense_ms(model, SMALL)
    limits = {"x": (0.9 * high, high)}
    plan = plan_widths(SMALL, importance, {"x": model}, limits, correction={"x": 1.2}, channel_step=8)
    assert 0.9 * high <= 1.2 * model.predict_ms(plan.widths) <= high * (1 + 1e-6)
    assert plan.target_ratio["x"] == pytest.approx(0.5)
    assert plan.predicted_ratio["x"] == pytest.approx(1.2 * model.predict_ms(plan.widths) / dense_ms(model, SMALL))


def test_refuses_a_target_below_the_floor_and_names_it() -> None:
    model = chain(SMALL)
    floor = floor_ms(SMALL, {"x": model}, channel_step=8)["x"]
    least = model.predict_ms({g.name: 2 for g in SMALL})
    assert floor == pytest.approx(least)
    with pytest.raises(UnsupportedModelError, match=f"floor of {floor:.3f} ms"):
        plan_widths(SMALL, importances(SMALL), {"x": model}, {"x": (0.0, 0.9 * floor)}, channel_step=8)


def test_refuses_targets_that_cannot_be_met_together() -> None:
    groups = [group("a", 64)]
    models = {
        "x": Model((Node("n", ("a",), lambda w: 0.1 if w["a"] == 8 else 1.0),)),
        "y": Model((Node("n", ("a",), lambda w: 0.1 if w["a"] == 2 else 1.0),)),
    }
    assert floor_ms(groups, models, channel_step=8) == pytest.approx({"x": 0.2, "y": 0.2})
    with pytest.raises(UnsupportedModelError, match="at once"):
        plan_widths(groups, importances(groups), models, {"x": (0.0, 0.5), "y": (0.0, 0.5)}, channel_step=8)


def test_never_squeezes_a_group_to_nothing_while_others_are_whole() -> None:
    groups = [group("dear", 64), group("cheap", 64)]
    importance = {"dear": np.full(64, 0.4), "cheap": np.full(64, 1.0)}
    model = Model(
        (Node("d", ("dear",), lambda w: 0.012 * w["dear"]), Node("c", ("cheap",), lambda w: 0.01 * w["cheap"]))
    )
    plan = plan_widths(groups, importance, {"x": model}, {"x": (0.0, 0.5 * dense_ms(model, groups))}, channel_step=4)
    assert plan.widths["dear"] >= 12
    assert plan.widths["cheap"] < 64


def test_a_group_that_costs_nothing_stays_whole() -> None:
    groups = [*SMALL, group("free", 32)]
    model = chain(SMALL)
    plan = plan_widths(groups, importances(groups), {"x": model}, {"x": (0.0, 0.5 * dense_ms(model, SMALL))})
    assert plan.widths["free"] == 32


def test_equal_inputs_give_equal_plans() -> None:
    groups = [group("a", 32), *(group(f"g{i}", 32) for i in range(5))]
    model, importance = dense_block(groups), importances(groups)
    limits = {"x": (0.0, 0.5 * dense_ms(model, groups))}
    first, second = (plan_widths(groups, importance, {"x": model}, limits, channel_step=8) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("bad", [np.full(32, np.nan), np.full(31, 1.0), np.full(32, -1.0)])
def test_refuses_importances_that_are_none(bad: np.ndarray) -> None:
    model = chain(SMALL)
    with pytest.raises(UsageError, match="'a'"):
        plan_widths(SMALL, {**importances(SMALL), "a": bad}, {"x": model}, {"x": (0.0, 1.0)})


RESIDUAL = [group("trunk", 32), group("a1", 32, branch="a"), group("a2", 32, branch="a"), group("b", 64, branch="b")]


def residual(seed: int) -> Model:
    rates = np.random.default_rng(seed).uniform(1e-5, 1e-4, 6)
    ways = [("trunk", "a1"), ("a1", "a2"), ("a2", "trunk"), ("trunk", "b"), ("b", "trunk"), ("trunk", "trunk")]
    return Model(tuple(conv(f"{x}-{y}", [x], y, float(rate)) for (x, y), rate in zip(ways, rates, strict=True)))


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3, 0.25])
@pytest.mark.parametrize("seed", range(3))
def test_leaves_whole_branches_out_where_that_is_best(share: float, seed: int) -> None:
    model, importance = residual(seed), importances(RESIDUAL, seed)
    limits = {"x": (0.0, share * dense_ms(model, RESIDUAL))}
    plan = plan_widths(RESIDUAL, importance, {"x": model}, limits, channel_step=8, max_candidates=5)
    best = brute_force(RESIDUAL, importance, {"x": model}, limits, channel_step=8, max_candidates=5)
    assert loss_of(plan.widths, RESIDUAL, importance) == pytest.approx(best, rel=1e-6)
    assert (plan.widths["a1"] == 0) == (plan.widths["a2"] == 0)
    assert all(plan.kept[name] == () for name, width in plan.widths.items() if width == 0)


def test_a_branch_goes_when_it_matters_little() -> None:
    model, importance = residual(0), importances(RESIDUAL)
    importance["b"] *= 1e-4
    limits = {"x": (0.0, 0.3 * dense_ms(model, RESIDUAL))}
    plan = plan_widths(RESIDUAL, importance, {"x": model}, limits, channel_step=8)
    assert plan.widths["b"] == 0
    assert floor_ms(RESIDUAL, {"x": model}, channel_step=8)["x"] < 0.25 * dense_ms(model, RESIDUAL)
