"""Norms of every kind: their affine parameters follow the channels, their statistics are those of what stays."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Case, Parts, analyze_case, check_case, parameter
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def _rms(parts: Parts, x: Tensor) -> Tensor:
    return parts.scale * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def _by_hand(parts: Parts, x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
    return scaled * parts.scale[:, None, None] + parts.shift[:, None, None]


def _by_variance(parts: Parts, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return (x - mean) / torch.sqrt(variance + 1e-6) * parts.scale


def _standardized(parts: Parts, x: Tensor) -> Tensor:
    weight = parts["conv"].weight
    mean, std = weight.mean((1, 2, 3), keepdim=True), weight.std((1, 2, 3), keepdim=True)
    return F.conv2d(x, parts.gain[:, None, None, None] * (weight - mean) / (std + 1e-5), parts["conv"].bias)


def _standardized_by_batch_norm(parts: Parts, x: Tensor) -> Tensor:
    weight = parts["conv"].weight
    rows = weight.reshape(1, weight.shape[0], -1)
    return F.conv2d(x, F.batch_norm(rows, None, None, weight=parts.gain, training=True).reshape_as(weight))


def _standardized_and_written_over(parts: Parts, x: Tensor) -> Tensor:
    """A call that writes through a view has torch's functional form taken."""
    y = _standardized_by_batch_norm(parts, x)
    y.flatten(1).mul_(0.5)
    return y


def _response(parts: Parts, x: Tensor) -> Tensor:
    """Global response normalisation."""
    energy = x.norm(p=2, dim=(2, 3), keepdim=True)
    return x + parts.scale[:, None, None] * x * (energy / (energy.mean(dim=1, keepdim=True) + 1e-6))


def _scale_shift() -> dict[str, nn.Parameter]:
    return {"scale": parameter(8), "shift": parameter(8)}


def _conv() -> dict[str, nn.Module | nn.Parameter]:
    return {"conv": nn.Conv2d(8, 12, 3), "gain": parameter(12)}


CASES = {
    "batch norm": Case(lambda p, x: p["norm"](x).relu(), lambda: {"norm": nn.BatchNorm2d(8)}),
    "batch norm in one dimension": Case(lambda p, x: p["norm"](x.flatten(2)), lambda: {"norm": nn.BatchNorm1d(8)}),
    "batch norm without parameters": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.BatchNorm2d(8, affine=False)}),
    "batch norm with statistics of its own": Case(
        lambda p, x: p["norm"](x), lambda: {"norm": nn.BatchNorm2d(8, track_running_stats=False)}
    ),
    "layer norm": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.LayerNorm(8)}, tokens=True),
    "layer norm without parameters": Case(lambda p, x: F.layer_norm(x, x.shape[-1:]), tokens=True),
    "layer norm over maps": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.LayerNorm((8, 4, 4))}),
    "layer norm of permuted maps": Case(
        lambda p, x: p["norm"](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), lambda: {"norm": nn.LayerNorm(8)}
    ),
    "layer norm, native": Case(
        lambda p, x: torch.native_layer_norm(x, [8], p.scale, p.shift, 1e-5)[0], _scale_shift, tokens=True
    ),
    "group norm, native": Case(
        lambda p, x: torch.native_group_norm(x, p.scale, p.shift, x.shape[0], 8, 16, 2, 1e-5)[0], _scale_shift
    ),
    "group norm": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.GroupNorm(4, 8)}),
    "group norm over everything": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.GroupNorm(1, 8)}),
    "instance norm": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.InstanceNorm2d(8, affine=True)}),
    "instance norm with running statistics": Case(
        lambda p, x: p["norm"](x), lambda: {"norm": nn.InstanceNorm2d(8, affine=True, track_running_stats=True)}
    ),
    "rms norm": Case(lambda p, x: p["norm"](x), lambda: {"norm": nn.RMSNorm(8)}, tokens=True),
    "rms norm by hand": Case(_rms, _scale_shift, tokens=True, share=0.95),
    "layer norm by hand": Case(_by_hand, _scale_shift),
    "layer norm by var_mean": Case(_by_variance, _scale_shift, tokens=True, share=0.95),
    "local response norm": Case(
        lambda p, x: p["norm"](x), lambda: {"norm": nn.LocalResponseNorm(3)}, share=0.0,
    ),
    "global response norm": Case(_response, _scale_shift, share=0.95),
    "unit length": Case(lambda p, x: F.normalize(x.sigmoid(), dim=-1) * p.scale, _scale_shift, tokens=True, share=0.95),
    "weight standardisation": Case(_standardized, _conv),
    "weight standardisation by batch norm": Case(_standardized_by_batch_norm, _conv, share=0.95),
    "weight standardisation, written over": Case(_standardized_and_written_over, _conv, share=0.95),
    "weight norm": Case(
        lambda p, x: p["conv"](x), lambda: {"conv": parametrizations.weight_norm(nn.Conv2d(8, 12, 3))}
    ),
    "weight norm of a linear layer": Case(
        lambda p, x: p["up"](x), lambda: {"up": parametrizations.weight_norm(nn.Linear(8, 12))}, tokens=True
    ),
    "weight norm along the kernel": Case(
        lambda p, x: p["conv"](x.flatten(2)),
        lambda: {"conv": parametrizations.weight_norm(nn.Conv1d(8, 12, 3), dim=2)},
    ),
    "spectral norm": Case(
        lambda p, x: p["up"](x), lambda: {"up": parametrizations.spectral_norm(nn.Linear(8, 12))}, tokens=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])


@pytest.mark.parametrize("name", ["layer norm", "rms norm", "rms norm by hand", "layer norm by hand", "unit length"])
def test_groups_whose_statistics_change_are_marked(name: str) -> None:
    assert any(group.statistics_changing for group in analyze_case(CASES[name]).record.groups)


@pytest.mark.parametrize("name", ["batch norm", "instance norm"])
def test_groups_whose_statistics_stay_are_not_marked(name: str) -> None:
    assert not any(group.statistics_changing for group in analyze_case(CASES[name]).record.groups)
