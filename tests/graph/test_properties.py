"""Whatever the graph and whatever the plan: the pruned model equals its masked twin. And the check can fail."""

from __future__ import annotations

import pytest
import torch
from architectures import ARCHITECTURES
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from plans import check_proof, check_shapes, random_plan
from random_nets import Move, RandomNet, Step, plans
from torch import Tensor, nn

from deployprune.errors import ParityError, UnsupportedModelError
from deployprune.graph import rules
from deployprune.graph.analysis import analyze
from deployprune.graph.labels import Labels, Layer
from deployprune.graph.rules import Call, Rule

PROPERTY = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking takes minutes; the steps that fail are few and named as they are
    suppress_health_check=[HealthCheck.too_slow],
)


@PROPERTY
@given(plan=plans(), seed=st.integers(0, 3))
def test_pruned_equals_masked_twin(plan: tuple[tuple[type[Step], int, int], ...], seed: int) -> None:
    torch.manual_seed(seed)
    try:
        analysis = analyze(RandomNet(plan).eval(), (torch.randn(2, 3, 4, 4),))
    except UnsupportedModelError:  # some steps tie all channels together
        assume(False)
    widths = random_plan(analysis, seed, removed=0.4)
    check_proof(analysis.prune(widths, trials=1, seed=seed))
    check_shapes(analysis, widths)
    assert {item.op for item in analysis.record.frozen} <= {"head dimension"}


def _as_it_came(call: Call) -> Labels:
    return Labels(tuple(call.result.shape), call["self"].labels.layers)


def _backwards(call: Call) -> Labels:
    labels = rules.joining.RULES["cat"].labels(call)
    assert isinstance(labels, Labels)
    turned = tuple(Layer(layer.dims, layer.ids[::-1].copy()) for layer in labels.layers)
    return Labels(labels.shape, turned)


def _no_new_channels(call: Call) -> Labels:
    """Padding in front taken for padding behind."""
    labels = rules.joining.RULES["pad"].labels(call)
    assert isinstance(labels, Labels)
    return Labels(
        labels.shape, tuple(Layer(x.dims, x.ids if x.dims != (1,) else x.ids[::-1].copy()) for x in labels.layers)
    )


@pytest.mark.parametrize(
    ("op", "broken", "model"),
    [
        ("flip", _as_it_came, lambda: RandomNet(((Move, 0, 0),))),
        ("roll", _as_it_came, lambda: ARCHITECTURES["corners"]()),
        ("cat", _backwards, lambda: ARCHITECTURES["inception"]()),
        ("pad", _no_new_channels, lambda: ARCHITECTURES["resnet-pad"]()),
        ("batch_norm", lambda call: call["input"].labels, lambda: ARCHITECTURES["vgg"]()),
    ],
)
def test_a_broken_rule_is_caught(monkeypatch: pytest.MonkeyPatch, op, broken, model) -> None:
    torch.manual_seed(0)
    module = model().eval()
    side = 4 if isinstance(module, RandomNet) else 32
    monkeypatch.setitem(rules._RULES, op, Rule(broken, rules._RULES[op].rewrite))
    with pytest.raises(ParityError):
        _prune_often(module, (torch.randn(2, 3, side, side),))


def _prune_often(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    analysis = analyze(module, inputs)
    for seed in range(3):
        analysis.prune(random_plan(analysis, seed), trials=1)
