"""Attention in the forms that networks write it: heads and head dimensions go, tokens stay."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Case, Parts, check_case, parameter
from torch import Tensor, nn

HEADS, DIM = 4, 6


def _fused(parts: Parts, x: Tensor) -> Tensor:
    q, k, v = parts["qkv"](x).reshape(x.shape[0], 16, 3, HEADS, DIM).permute(2, 0, 3, 1, 4).unbind(0)
    return parts["out"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _split(parts: Parts, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = parts["qkv"](x).chunk(3, -1)
    return tuple(y.unflatten(2, (HEADS, DIM)).transpose(1, 2) for y in (q, k, v))  # type: ignore[return-value]


def _written_out(parts: Parts, x: Tensor) -> Tensor:
    q, k, v = _split(parts, x)
    return parts["out"]((((q @ k.mT) * DIM**-0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))


def _talking(parts: Parts, x: Tensor) -> Tensor:
    """Heads mixed before and after the softmax."""
    q, k, v = _split(parts, x)
    scores = torch.einsum("bhqk,hg->bgqk", q @ k.mT, parts.before).softmax(-1)
    return parts["out"]((torch.einsum("bgqk,gh->bhqk", scores, parts.after) @ v).transpose(1, 2).flatten(2))


def _biased(parts: Parts, x: Tensor) -> Tensor:
    """A table of relative positions, one column a head."""
    places = torch.arange(16)
    bias = parts.table[(places[:, None] - places[None]) + 15].permute(2, 0, 1)
    q, k, v = _split(parts, x)
    return parts["out"](F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2))


def _cosine(parts: Parts, x: Tensor) -> Tensor:
    q, k, v = _split(parts, x)
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * parts.scale.clamp(max=4).exp()
    return parts["out"]((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def _linear(parts: Parts, x: Tensor) -> Tensor:
    q, k, v = _split(parts, x)
    q, k = F.relu(q), F.relu(k)
    context = k.mT @ v
    return parts["out"]((q @ context / (q @ k.sum(2)[..., None] + 1)).transpose(1, 2).flatten(2))


def _across(parts: Parts, x: Tensor) -> Tensor:
    """Attention between channels."""
    q, k, v = (y.mT for y in _split(parts, x))
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return parts["out"]((scores.softmax(-1) @ v).permute(0, 3, 1, 2).flatten(2))


def _grouped_queries(parts: Parts, x: Tensor) -> Tensor:
    q = parts["q"](x).unflatten(2, (HEADS, DIM)).transpose(1, 2)
    k, v = (y.unflatten(2, (2, DIM)).transpose(1, 2) for y in parts["kv"](x).chunk(2, -1))
    return parts["out"](F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2))


def _repeated_keys(parts: Parts, x: Tensor) -> Tensor:
    q = parts["q"](x).unflatten(2, (HEADS, DIM)).transpose(1, 2)
    k, v = (y.unflatten(2, (2, DIM)).transpose(1, 2) for y in parts["kv"](x).chunk(2, -1))
    k, v = (y[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for y in (k, v))
    return parts["out"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def _one_key(parts: Parts, x: Tensor) -> Tensor:
    q = parts["q"](x).unflatten(2, (HEADS, DIM)).transpose(1, 2)
    k, v = (y[:, None] for y in parts["kv"](x).chunk(2, -1))
    return parts["out"]((((q @ k.mT) * DIM**-0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))


def _rotated(parts: Parts, x: Tensor) -> Tensor:
    """Rotary positions pair up the dimensions of a head."""
    q, k, v = _split(parts, x)
    angle = torch.arange(16.0)[:, None] * torch.tensor([1.0, 0.1, 0.01]).repeat(2)

    def rotate(y: Tensor) -> Tensor:
        left, right = y.chunk(2, -1)
        return y * angle.cos() + torch.cat([-right, left], -1) * angle.sin()

    return parts["out"](F.scaled_dot_product_attention(rotate(q), rotate(k), v).transpose(1, 2).flatten(2))


def _with_token(parts: Parts, x: Tensor) -> Tensor:
    tokens = torch.cat([parts.token.expand(x.shape[0], -1, -1), x], 1) + parts.places
    q, k, v = parts["qkv"](tokens).reshape(x.shape[0], 17, 3, HEADS, DIM).permute(2, 0, 3, 1, 4)
    return parts["out"](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))[:, 0]


def _windowed(parts: Parts, x: Tensor) -> Tensor:
    """Shifted windows of 2 x 2 with a mask."""
    channels = x.shape[2]
    rolled = torch.roll(x.view(-1, 4, 4, channels), (-1, -1), (1, 2))
    windows = rolled.view(-1, 2, 2, 2, 2, channels).transpose(2, 3).reshape(-1, 4, channels)
    q, k, v = parts["qkv"](windows).reshape(windows.shape[0], 4, 3, HEADS, DIM).permute(2, 0, 3, 1, 4)
    mask = torch.ones(4, 4).tril()[None, None] - 1
    mixed = parts["out"](((q @ k.mT + mask).softmax(-1) @ v).transpose(1, 2).reshape(-1, 4, HEADS * v.shape[-1]))
    back = mixed.view(-1, 2, 2, 2, 2, mixed.shape[-1]).transpose(2, 3).reshape(-1, 4, 4, mixed.shape[-1])
    return torch.roll(back, (1, 1), (1, 2)).flatten(1, 2)


def _by_parameters(parts: Parts, x: Tensor) -> Tensor:
    """Projections of three dimensions, a head a slice."""
    q, k, v = (torch.einsum("bnc,hcd->bhnd", x, weight) for weight in (parts.q, parts.k, parts.v))
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1)
    return torch.einsum("bhqk,bhkd,hdo->bqo", scores, v, parts.o)


def _made(**more: nn.Parameter) -> dict[str, nn.Module | nn.Parameter]:
    return {"qkv": nn.Linear(8, 3 * HEADS * DIM), "out": nn.Linear(HEADS * DIM, 8), **more}


def _separate(key_heads: int) -> dict[str, nn.Module | nn.Parameter]:
    return {
        "q": nn.Linear(8, HEADS * DIM), "kv": nn.Linear(8, 2 * key_heads * DIM), "out": nn.Linear(HEADS * DIM, 8)
    }  # fmt: skip


def _torchs_own(parts: Parts, x: Tensor) -> Tensor:
    return parts["attention"](x, x, x)[0]


CASES = {
    "fused projection": Case(_fused, _made, tokens=True),
    "written out": Case(_written_out, _made, tokens=True),
    "talking heads": Case(
        _talking, lambda: _made(before=parameter(HEADS, HEADS), after=parameter(HEADS, HEADS)), tokens=True
    ),
    "relative position bias": Case(_biased, lambda: _made(table=parameter(31, HEADS)), tokens=True),
    "cosine": Case(_cosine, lambda: _made(scale=parameter(HEADS, 1, 1)), tokens=True, share=0.95),
    "linear": Case(_linear, _made, tokens=True),
    "across channels": Case(_across, _made, tokens=True),
    "grouped queries": Case(_grouped_queries, lambda: _separate(2), tokens=True, share=0.9),
    "keys repeated": Case(_repeated_keys, lambda: _separate(2), tokens=True, share=0.9),
    "one key for all heads": Case(_one_key, lambda: _separate(1), tokens=True),
    "rotary positions": Case(_rotated, _made, tokens=True, share=0.5),
    "class token": Case(
        _with_token, lambda: _made(token=parameter(1, 1, 8), places=parameter(1, 17, 8)), tokens=True
    ),
    "shifted windows": Case(_windowed, _made, tokens=True),
    "parameters of three dimensions": Case(
        _by_parameters,
        lambda: {name: parameter(HEADS, 8, DIM) for name in "qkv"} | {"o": parameter(HEADS, DIM, 8)},
        tokens=True,
    ),
    "torch's own": Case(
        _torchs_own, lambda: {"attention": nn.MultiheadAttention(8, 2, batch_first=True)}, tokens=True, share=0.9
    ),
    "torch's encoder": Case(
        lambda p, x: p["block"](x),
        lambda: {"block": nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)},
        tokens=True, share=0.9,
    ),
    "torch's decoder": Case(
        lambda p, x: p["block"](x, x.flip(1)),
        lambda: {"block": nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)},
        tokens=True, share=0.9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
