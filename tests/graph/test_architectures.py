"""Surgery on whole architectures: every pruned model is proven, small, trainable and named like the dense one."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from architectures import ARCHITECTURES
from plans import check_batch, check_proof, check_shapes, check_training, parameter_count, random_plan

from deployprune.graph.analysis import GraphAnalysis, analyze

SEEDS = (0, 1, 2)
# What these sizes can be: everything but the input's channels and the output's classes.
FULLY_PRUNABLE = 0.99


@lru_cache(maxsize=1)
def analysis_of(name: str) -> GraphAnalysis:
    torch.manual_seed(0)
    return analyze(ARCHITECTURES[name]().eval(), (torch.randn(1, 3, 32, 32),))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_random_plan_is_proven(name: str, seed: int) -> None:
    analysis = analysis_of(name)
    plan = random_plan(analysis, seed)
    pruned = analysis.prune(plan, seed=seed)
    check_proof(pruned)
    check_shapes(analysis, plan)
    assert parameter_count(pruned.module) < 0.85 * analysis.record.parameters
    assert set(pruned.module.state_dict()) == set(analysis.module.state_dict())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_product_trains_and_takes_other_batches(name: str) -> None:
    analysis = analysis_of(name)
    pruned = analysis.prune(random_plan(analysis, seed=3))
    check_training(pruned.module, analysis.graph.captured.inputs)
    check_batch(pruned.module, analysis.graph.captured.inputs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_nearly_every_parameter_can_go(name: str) -> None:
    record = analysis_of(name).record
    assert record.prunable_parameters >= FULLY_PRUNABLE * record.parameters
    assert {item.op for item in record.frozen} <= {"head dimension"}  # heads go instead, so that the module follows


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_predicted_macs_shrink_with_the_plan(name: str) -> None:
    analysis = analysis_of(name)
    widths = {group: len(kept) for group, kept in random_plan(analysis, seed=4).items()}
    assert 0 < analysis.record.macs_at(widths) < analysis.record.macs
