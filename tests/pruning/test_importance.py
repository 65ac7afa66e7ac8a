"""Every criterion against its formula, written out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn

from deployprune.errors import UsageError
from deployprune.pruning import importance
from deployprune.pruning.criteria import CRITERIA, Criterion, Evidence
from deployprune.pruning.importance import available_criteria, get_criterion, score
from deployprune.records import Axis, ChannelGroup

AXES = (("0.weight", 0), ("0.bias", 0), ("1.weight", 0), ("1.bias", 0), ("1.running_mean", 0), ("3.weight", 1))


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3))
    with torch.no_grad():
        net[1].weight.uniform_(0.5, 1.5)
        net[1].bias.uniform_(-0.5, 0.5)
    return net.eval()


def hidden_group(size: int = 6) -> ChannelGroup:
    units = tuple({name: {dim: (i,)} for name, dim in AXES} for i in range(size))
    axes = tuple(Axis(parameter=name, dim=dim) for name, dim in AXES)
    return ChannelGroup(name="hidden", kind="channel", size=size, axes=axes, units=units, parameters=0, macs=0)


def batches(net: nn.Module, count: int) -> Iterator[None]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        net.zero_grad()
        net(torch.randn(2, 3, 8, 8, generator=generator)).square().mean().backward()
        yield


def elements(net: nn.Sequential, unit: int) -> list[torch.Tensor]:
    conv, norm, _, after = net
    return [conv.weight[unit], conv.bias[unit], norm.weight[unit], norm.bias[unit], after.weight[:, unit]]


@pytest.mark.parametrize("power", [1, 2])
def test_magnitudes_are_norms_over_the_unit_that_share_what_their_weights_are_worth(power: int) -> None:
    net = small_net()
    found = score(f"l{power}", net, [hidden_group()])["hidden"]
    norms = [sum(float(e.detach().abs().pow(power).sum()) for e in elements(net, i)) ** (1 / power) for i in range(6)]
    assert found == pytest.approx(2 * np.array(norms) / np.sum(norms), rel=1e-5)  # out of 0.weight, into 3.weight


def test_taylor_is_the_mean_squared_sum_of_gradient_times_weight() -> None:
    net = small_net()
    found = score("taylor", net, [hidden_group()], Evidence(gradients=lambda: batches(net, 3)))["hidden"]
    expected = np.zeros(6)
    for _ in batches(net, 3):
        conv, norm, _, after = net
        for i in range(6):
            pairs = [(conv.weight, np.s_[i]), (conv.bias, np.s_[i]), (norm.weight, np.s_[i]), (norm.bias, np.s_[i])]
            pairs.append((after.weight, np.s_[:, i]))
            expected[i] += sum(float((p.detach() * p.grad)[at].sum()) for p, at in pairs) ** 2 / 3
    assert found == pytest.approx(expected, rel=1e-4)


def test_taylor_finds_the_unit_that_does_nothing() -> None:
    net = small_net()
    with torch.no_grad():
        net[3].weight[:, 2] = 0.0
        net[1].weight[2] = 0.0
        net[1].bias[2] = 0.0
    found = score("taylor", net, [hidden_group()], Evidence(gradients=lambda: batches(net, 2)))["hidden"]
    assert int(np.argmin(found)) == 2
    assert found[2] == 0.0


def test_magnitudes_do_not_depend_on_a_layers_scale() -> None:
    net, louder = small_net(), small_net()
    with torch.no_grad():
        for parameter in louder.parameters():
            parameter.mul_(7.0)
    assert score("l2", net, [hidden_group()])["hidden"] == pytest.approx(
        score("l2", louder, [hidden_group()])["hidden"]
    )


def test_units_of_several_channels_sum_them() -> None:
    net = nn.Sequential(nn.Linear(4, 6, bias=False))
    units = tuple({"0.weight": {0: (i, i + 3)}} for i in range(3))
    pairs = ChannelGroup(name="pairs", kind="channel", size=3, axes=(), units=units, parameters=0, macs=0)
    weight = net[0].weight.detach().abs().sum(dim=1).numpy()
    sums = weight[:3] + weight[3:]
    assert score("l1", net, [pairs])["pairs"] == pytest.approx(sums / sums.sum(), rel=1e-5)


def test_shared_parameters_count_under_the_name_that_the_group_uses() -> None:
    net = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False), "b": nn.Linear(4, 4, bias=False)})
    net["b"].weight = net["a"].weight
    units = tuple({"b.weight": {0: (i,)}} for i in range(4))
    tied = ChannelGroup(name="tied", kind="channel", size=4, axes=(), units=units, parameters=0, macs=0)
    assert (score("l2", net, [tied])["tied"] > 0.0).all()


def test_random_is_the_same_every_time_and_differs_between_groups() -> None:
    net, one = small_net(), hidden_group()
    other = ChannelGroup(name="other", kind="channel", size=6, axes=(), units=one.units, parameters=0, macs=0)
    found = score("random", net, [one, other])
    assert (found["hidden"] == score("random", net, [one])["hidden"]).all()
    assert not np.allclose(found["hidden"], found["other"])


@pytest.mark.parametrize("name", sorted(set(CRITERIA) - {"sensitivity", "taylor"}))
def test_scoring_leaves_the_module_alone(name: str) -> None:
    net = small_net()
    before = copy.deepcopy(net.state_dict())
    score(name, net, [hidden_group()])
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_taylor_without_data_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="gradients") as caught:
        score("taylor", small_net(), [hidden_group()])
    assert "l2" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no batch"):
        score("taylor", small_net(), [hidden_group()], Evidence(gradients=lambda: iter(())))


def test_weights_that_are_not_numbers_are_refused() -> None:
    net = small_net()
    with torch.no_grad():
        net[0].weight[1] = float("nan")
    with pytest.raises(UsageError, match="'hidden'"):
        score("l2", net, [hidden_group()])


def test_an_unknown_criterion_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'hessian'") as caught:
        get_criterion("hessian")
    assert all(name in str(caught.value.hint) for name in ("l1", "l2", "taylor", "random"))


def test_packages_add_criteria_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint(name="mine", value="added_criterion:EVEN", group="deployprune.criteria")
    monkeypatch.setattr(importance, "entry_points", lambda group: [point] if group == point.group else [])
    assert "mine" in available_criteria()
    assert isinstance(get_criterion("mine"), Criterion)
    assert score("mine", small_net(), [hidden_group()])["hidden"] == pytest.approx(np.full(6, 2 / 6))
