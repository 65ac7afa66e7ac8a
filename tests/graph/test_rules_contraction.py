"""Convolutions, linear layers and products, by modules and by functions of parameters."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Case, Parts, check_case, parameter
from torch import Tensor, nn


def _grouped_matrix(parts: Parts, x: Tensor) -> Tensor:
    """Each group of channels has a matrix of its own."""
    grouped = x.reshape(x.shape[0], 4, 2, 16)
    return torch.einsum("bgix,gio->bgox", grouped, parts.weight)


def _heads_by_bmm(parts: Parts, x: Tensor) -> Tensor:
    rows = parts["up"](x).reshape(x.shape[0], 16, 4, 3).permute(0, 2, 1, 3).reshape(-1, 16, 3)
    return torch.bmm(rows, rows.transpose(1, 2)).reshape(x.shape[0], -1)


def _volume(parts: Parts, x: Tensor) -> Tensor:
    return parts["conv"](x.unsqueeze(2).repeat(1, 1, 2, 1, 1))


def _make_three_names() -> dict[str, nn.Module]:
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    return {"first": conv, "used": conv, "last": conv}


def _three_names(parts: Parts, x: Tensor) -> Tensor:
    return parts["used"](parts["used"](x).relu())


def _modulated(parts: Parts, x: Tensor) -> Tensor:
    """As generators modulate their kernels, the batch lying in the groups."""
    batch, channels, height, width = x.shape
    weight = parts.weight * parts["style"](x.mean((2, 3))).view(batch, 1, channels, 1, 1)
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-6)
    rows = x.reshape(1, batch * channels, height, width)
    out = F.conv2d(rows, weight.reshape(-1, channels, 3, 3), padding=1, groups=batch)
    return out.view(batch, -1, height, width)


CASES = {
    "linear": Case(lambda p, x: p["up"](x).relu(), lambda: {"up": nn.Linear(8, 12)}, tokens=True),
    "linear without bias": Case(lambda p, x: p["up"](x), lambda: {"up": nn.Linear(8, 12, bias=False)}, tokens=True),
    "linear that starts at zero": Case(
        lambda p, x: F.linear(x, p.weight), lambda: {"weight": nn.Parameter(torch.zeros(12, 8))}, tokens=True
    ),
    "functional linear": Case(
        lambda p, x: F.linear(x, p.weight.t(), p.bias),
        lambda: {"weight": parameter(8, 12), "bias": parameter(12)},
        tokens=True,
    ),
    "bilinear": Case(lambda p, x: p["mix"](x, x), lambda: {"mix": nn.Bilinear(8, 8, 6)}, tokens=True),
    "matmul with a parameter": Case(
        lambda p, x: (x @ p.weight).relu(), lambda: {"weight": parameter(8, 12)}, tokens=True
    ),
    "parameter from the left": Case(
        lambda p, x: p.weight @ x.flatten(2), lambda: {"weight": parameter(12, 8)}, share=0.98
    ),
    "matmul with a vector": Case(
        lambda p, x: torch.cat([p["up"](x), (x @ p.weight)[..., None]], 2),
        lambda: {"weight": parameter(8), "up": nn.Linear(8, 6)},
        tokens=True,
        share=0.8,
    ),
    "bmm over heads in the batch": Case(_heads_by_bmm, lambda: {"up": nn.Linear(8, 12)}, tokens=True, share=0.5),
    "addmm": Case(
        lambda p, x: torch.addmm(p.bias, x.mean(1), p.weight),
        lambda: {"bias": parameter(12), "weight": parameter(8, 12)},
        tokens=True,
    ),
    "baddbmm": Case(
        lambda p, x: torch.baddbmm(p.bias, x, p.weight.expand(x.shape[0], -1, -1)),
        lambda: {"bias": parameter(1, 1, 12), "weight": parameter(1, 8, 12)},
        tokens=True,
    ),
    "outer product": Case(
        lambda p, x: torch.einsum("bi,bj->bij", x.mean(1), p["up"](x).mean(1)),
        lambda: {"up": nn.Linear(8, 6)},
        tokens=True,
    ),
    "einsum": Case(
        lambda p, x: torch.einsum("bnc,cd->bnd", x, p.weight), lambda: {"weight": parameter(8, 12)}, tokens=True
    ),
    "einsum in its implicit form": Case(
        lambda p, x: torch.einsum("bnc,cd", x, p.weight), lambda: {"weight": parameter(8, 12)}, tokens=True
    ),
    "einsum with an ellipsis": Case(
        lambda p, x: torch.einsum("...c,cd->...d", x.sigmoid(), p.weight),
        lambda: {"weight": parameter(8, 12)},
        tokens=True,
    ),
    "einsum with two ellipses": Case(
        lambda p, x: torch.cat([x, torch.einsum("...nc,...mc->...nm", p["up"](x), p.table)], 2),
        lambda: {"up": nn.Linear(8, 12), "table": parameter(5, 12)},
        tokens=True,
        share=0.6,
    ),
    "einsum with an implicit ellipsis": Case(
        lambda p, x: torch.einsum("...c,dc", x, p.weight), lambda: {"weight": parameter(12, 8)}, tokens=True
    ),
    "einsum of three": Case(
        lambda p, x: torch.einsum("bnc,cr,rd->bnd", x, p.down, p.up),
        lambda: {"down": parameter(8, 4), "up": parameter(4, 12)},
        tokens=True,
    ),
    "einsum a group": Case(_grouped_matrix, lambda: {"weight": parameter(4, 2, 3)}),
    "tensordot": Case(
        lambda p, x: torch.tensordot(x, p.weight, dims=([2], [1])), lambda: {"weight": parameter(12, 8)}, tokens=True
    ),
    "conv1d": Case(lambda p, x: p["conv"](x.flatten(2)), lambda: {"conv": nn.Conv1d(8, 12, 3, padding=1)}),
    "conv2d": Case(lambda p, x: p["conv"](x), lambda: {"conv": nn.Conv2d(8, 12, 3, padding="same")}),
    "conv2d with circular padding": Case(
        lambda p, x: p["conv"](x), lambda: {"conv": nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular")}
    ),
    "a kernel for each example": Case(
        _modulated, lambda: {"style": nn.Linear(8, 8), "weight": parameter(12, 8, 3, 3)}
    ),
    "conv3d": Case(_volume, lambda: {"conv": nn.Conv3d(8, 12, (2, 3, 3))}),
    "depthwise with a multiplier": Case(
        lambda p, x: p["conv"](x), lambda: {"conv": nn.Conv2d(8, 16, 3, groups=8)}
    ),
    "grouped": Case(lambda p, x: p["conv"](x).relu(), lambda: {"conv": nn.Conv2d(8, 12, 3, groups=4)}),
    "grouped and shuffled": Case(
        lambda p, x: p["second"](F.channel_shuffle(p["first"](x), 4)),
        lambda: {"first": nn.Conv2d(8, 16, 1, groups=4), "second": nn.Conv2d(16, 16, 1, groups=4)},
    ),
    "transposed": Case(lambda p, x: p["conv"](x), lambda: {"conv": nn.ConvTranspose2d(8, 12, 3, 2)}),
    "transposed in one dimension": Case(
        lambda p, x: p["conv"](x.flatten(2)), lambda: {"conv": nn.ConvTranspose1d(8, 12, 4, 2)}
    ),
    "transposed and grouped": Case(
        lambda p, x: p["conv"](x), lambda: {"conv": nn.ConvTranspose2d(8, 12, 3, groups=4)}
    ),
    "transposed and depthwise": Case(
        lambda p, x: p["conv"](x), lambda: {"conv": nn.ConvTranspose2d(8, 8, 3, groups=8)}
    ),
    "kernel made of parameters": Case(
        lambda p, x: F.conv2d(x, p.three + F.pad(p.one, [1, 1, 1, 1]), padding=1),
        lambda: {"three": parameter(12, 8, 3, 3), "one": parameter(12, 8, 1, 1)},
    ),
    "one kernel for all channels": Case(
        lambda p, x: F.conv2d(x, p.kernel.expand(8, 1, 3, 3), groups=8), lambda: {"kernel": parameter(1, 1, 3, 3)},
        share=0.85,
    ),
    "tied weights": Case(
        lambda p, x: F.linear(p["up"](x).relu(), p["up"].weight.t()), lambda: {"up": nn.Linear(8, 12)}, tokens=True
    ),
    "layer under three names": Case(_three_names, _make_three_names),
    "low rank": Case(
        lambda p, x: p["up"](x) + F.linear(x, p.outer @ p.inner),
        lambda: {"up": nn.Linear(8, 12), "outer": parameter(12, 3), "inner": parameter(3, 8)},
        tokens=True,
    ),
    "embedding": Case(
        lambda p, x: x + p["table"](torch.arange(16) % 5), lambda: {"table": nn.Embedding(5, 8)}, tokens=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
