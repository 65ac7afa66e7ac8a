"""The other ways to choose widths that `tools/bench_latency` compares with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from staircase import random_net

from deployprune.records import Analysis


@pytest.fixture(scope="module")
def baselines() -> ModuleType:
    """The tool's module, which is no part of the package."""
    path = Path(__file__).parents[2] / "tools" / "baselines.py"
    spec = importlib.util.spec_from_file_location("baselines", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["baselines"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def net() -> Analysis:
    made = random_net(np.random.default_rng(3))
    macs = sum(layer.macs(made.dense_widths()) for layer in made.layers)
    return Analysis(
        groups=made.groups,
        frozen=(),
        layers=made.layers,
        parameters=0,
        prunable_parameters=0,
        macs=macs,
        prunable_macs=macs,
    )


@pytest.fixture(scope="module")
def importance(net: Analysis) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {group.name: rng.lognormal(0.0, 1.0, group.size) * rng.uniform(0.3, 2.0) for group in net.groups}


def test_the_macs_model_counts_macs(baselines: ModuleType, net: Analysis) -> None:
    model = baselines.MacsModel(net)
    widths = {group.name: group.size // 2 for group in net.groups}
    assert model.predict_ms(widths) == pytest.approx(net.macs_at(widths) / 1e6)
    parts = model.constant_ms + sum(node.cost_ms(widths) for node in model.nodes)
    assert parts == pytest.approx(model.predict_ms(widths))


def test_planning_by_macs_uses_its_budget_up_and_keeps_more_than_scaling(
    baselines: ModuleType, net: Analysis, importance: dict[str, np.ndarray]
) -> None:
    planned = baselines.plan_by_macs(net, net.groups, importance, 0.4)
    assert 0.96 <= net.macs_at(planned) / (0.4 * net.macs) <= 1.0
    scaled = baselines.match_latency(
        lambda share: baselines.scale_uniformly(net.groups, share), net.macs_at, net.macs_at(planned)
    )
    assert net.macs_at(scaled) <= net.macs_at(planned)
    assert baselines.importance_kept(importance, planned) > baselines.importance_kept(importance, scaled)


def test_scaling_is_the_same_share_everywhere(baselines: ModuleType, net: Analysis) -> None:
    assert baselines.scale_uniformly(net.groups, 1.0) == net.dense_widths()
    halves = baselines.scale_uniformly(net.groups, 0.5)
    assert all(abs(halves[group.name] - group.size / 2) <= 1 for group in net.groups)


def test_both_come_to_the_latency_that_is_asked(
    baselines: ModuleType, net: Analysis, importance: dict[str, np.ndarray]
) -> None:
    def latency_ms(widths: dict[str, int]) -> float:
        return sum((-(-width // 8) * 8) ** 1.5 for width in widths.values())

    limit = 0.5 * latency_ms(net.dense_widths())
    found = baselines.others_at_latency(net, net.groups, importance, latency_ms, limit, channel_step=8)
    assert set(found) == {"uniform", "macs"}
    for widths in found.values():
        assert 0.75 * limit <= latency_ms(widths) <= limit
