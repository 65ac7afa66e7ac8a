"""Element-wise operations, gates, reductions and pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Case, Parts, check_case, parameter
from torch import Tensor, nn


def _wide() -> dict[str, nn.Module]:
    return {"wide": nn.Conv2d(8, 16, 1)}


def _two() -> dict[str, nn.Module]:
    return {"one": nn.Conv2d(8, 12, 1), "other": nn.Conv2d(8, 12, 1)}


def _squeeze_excite(parts: Parts, x: Tensor) -> Tensor:
    return x * parts["up"](parts["down"](x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def _efficient_channel(parts: Parts, x: Tensor) -> Tensor:
    """Channels mixed by a convolution along them: each in its place."""
    return x * parts["conv"](x.mean((2, 3))[:, None]).sigmoid()[:, 0, :, None, None]


def _selective(parts: Parts, x: Tensor) -> Tensor:
    both = torch.stack([parts["one"](x), parts["other"](x)], 1)
    weights = both.sum(1).mean((2, 3))[:, None].softmax(1)
    return (both * weights[..., None, None]).sum(1)


def _spatial_gate(parts: Parts, x: Tensor) -> Tensor:
    return x * torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1).mean(1, keepdim=True).sigmoid()


CASES = {
    "sum": Case(lambda p, x: torch.cat([x, x.sigmoid().sum(1, keepdim=True)], 1), share=0.8),
    "mean": Case(lambda p, x: torch.cat([x, x.mean(1, keepdim=True)], 1), share=0.8),
    "mean over space": Case(lambda p, x: x.mean((2, 3))),
    "mean of everything": Case(lambda p, x: x - x.mean()),
    "amax": Case(lambda p, x: torch.cat([x, (-1 - x.abs()).amax(1, keepdim=True)], 1), share=0.8),
    "max over space": Case(lambda p, x: x.flatten(2).max(2)[0]),
    "max over channels": Case(lambda p, x: x - x.max(1, keepdim=True)[0], share=0.0),
    "logsumexp": Case(lambda p, x: x - x.logsumexp(1, keepdim=True)),
    "variance": Case(lambda p, x: x / (1 + x.var((1, 2, 3), keepdim=True))),
    "standard deviation and mean": Case(lambda p, x: torch.div(*torch.std_mean(x, (2, 3)))),
    "product": Case(lambda p, x: x * x.prod(1, keepdim=True)),
    "softmax": Case(lambda p, x: x.softmax(1)),
    "log softmax": Case(lambda p, x: x.log_softmax(1)),
    "softmax over space": Case(lambda p, x: x.flatten(2).softmax(-1)),
    "sums so far": Case(lambda p, x: x.cumsum(3)),
    "sums so far over channels": Case(lambda p, x: x.cumsum(1), share=0.0),
    "top places": Case(lambda p, x: x.flatten(2).topk(3, dim=2)[0]),
    "sorted places": Case(lambda p, x: x.flatten(2).sort(dim=2)[0]),
    "glu": Case(lambda p, x: F.glu(p["wide"](x), 1), _wide),
    "swiglu": Case(lambda p, x: F.silu(p["one"](x)) * p["other"](x), _two),
    "gate of two layers": Case(lambda p, x: p["one"](x).sigmoid() * p["other"](x).tanh(), _two),
    "maxout": Case(lambda p, x: torch.maximum(p["one"](x), p["other"](x)), _two),
    "prelu": Case(lambda p, x: p["act"](x), lambda: {"act": nn.PReLU(8)}),
    "prelu of one slope": Case(lambda p, x: p["act"](x), lambda: {"act": nn.PReLU()}),
    "layer scale": Case(
        lambda p, x: x + p.scale[:, None, None] * p["conv"](x),
        lambda: {"scale": parameter(8), "conv": nn.Conv2d(8, 8, 3, padding=1)},
    ),
    "masked_fill": Case(lambda p, x: x.masked_fill(x < 0, -1.0)),
    "where": Case(lambda p, x: torch.where(x > 0, p["wide"](x)[:, :8], x), _wide, share=0.6),
    "lerp": Case(lambda p, x: torch.lerp(p["one"](x), p["other"](x), 0.3), _two),
    "addcmul": Case(lambda p, x: torch.addcmul(p["one"](x), p["other"](x), p["one"](x)), _two),
    "clamp between tensors": Case(lambda p, x: x.clamp(p.low[:, None, None]), lambda: {"low": parameter(8)}),
    "cast to single": Case(lambda p, x: p["wide"](x.sigmoid().to(torch.float32)), _wide),
    "cast": Case(lambda p, x: x.double().float().to(x.dtype)),
    "squeeze and excite": Case(_squeeze_excite, lambda: {"down": nn.Conv2d(8, 4, 1), "up": nn.Conv2d(4, 8, 1)}),
    "efficient channel attention": Case(
        _efficient_channel, lambda: {"conv": nn.Conv1d(1, 1, 3, padding=1, bias=False)}
    ),
    "selective kernels": Case(_selective, _two),
    "spatial gate": Case(_spatial_gate),
    "max pool": Case(lambda p, x: F.max_pool2d(x, 2)),
    "max pool with indices": Case(lambda p, x: F.max_pool2d(x, 2, return_indices=True)[0]),
    "average pool": Case(lambda p, x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
    "adaptive pools": Case(lambda p, x: F.adaptive_avg_pool2d(x, 3) + F.adaptive_max_pool2d(x, 3)),
    "lp pool": Case(lambda p, x: F.lp_pool2d(x, 2, 2)),
    "pool of sequences": Case(lambda p, x: F.max_pool1d(x.flatten(2), 4) - F.avg_pool1d(x.flatten(2), 4)),
    "average of channels": Case(lambda p, x: F.avg_pool1d(x.flatten(2).transpose(1, 2), 2), share=0.0),
    "soft clip": Case(lambda p, x: F.softplus(x) + F.hardtanh(x) + F.gelu(x) + F.mish(x) + F.elu(x) + F.selu(x)),
    "constants by channel": Case(lambda p, x: x + torch.linspace(0, 1, 8)[:, None, None], share=0.0),
    "sinusoidal positions": Case(
        lambda p, x: x + torch.outer(torch.arange(16.0), torch.ones(8)).sin(), tokens=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
