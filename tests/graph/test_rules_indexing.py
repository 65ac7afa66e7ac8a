"""Elements read from, or written to, places that a tensor names: it may be computed from the input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Case, Parts, check_case, parameter
from torch import Tensor, nn

TIMES = torch.tensor([1, 2, 0, 1, 1, 3, 1, 1])


def _strongest(x: Tensor) -> Tensor:
    """The four tokens of the greatest sums."""
    return x.sum(-1).argsort(1)[:, :4]


def _gathered(parts: Parts, x: Tensor) -> Tensor:
    return x.gather(1, _strongest(x)[..., None].expand(-1, -1, x.shape[-1]))


def _gathered_by_score(parts: Parts, x: Tensor) -> Tensor:
    """As detectors choose the tokens that they decode."""
    _, places = parts["score"](x).squeeze(-1).topk(4, dim=1)
    return torch.gather(x, 1, places.unsqueeze(-1).repeat(1, 1, x.shape[-1]))


def _picked(parts: Parts, x: Tensor) -> Tensor:
    """One token of each example, as text encoders read the end of the text."""
    return x[torch.arange(x.shape[0]), x.sum(-1).argmax(1)]


def _sorted_back(parts: Parts, x: Tensor) -> Tensor:
    """Tokens written to their places in the order of their sums."""
    order = x.sum(-1, keepdim=True).argsort(1).expand(-1, -1, x.shape[-1])
    return torch.zeros_like(x).scatter(1, order, parts["up"](x))


def _added(parts: Parts, x: Tensor) -> Tensor:
    places = x.sum(-1, keepdim=True).argsort(1).expand(-1, -1, x.shape[-1]) // 4
    return torch.zeros(x.shape[0], 4, 8).scatter_add(1, places, x)


def _filled_in(parts: Parts, x: Tensor) -> Tensor:
    """Tokens of another kind in the places that a mask keeps for them."""
    mask = (torch.arange(16) % 2 == 0)[None, :, None].expand_as(x)
    return x.masked_scatter(mask, parts["up"](x[:, ::2]))


def _filled_anywhere(parts: Parts, x: Tensor) -> Tensor:
    mask = torch.arange(128).view(1, 16, 8).expand_as(x) % 3 == 0
    return x.masked_scatter(mask, parts["up"](x))


def _unpooled(parts: Parts, x: Tensor) -> Tensor:
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(parts["same"](pooled), places, 2)


def _unpooled_alike(parts: Parts, x: Tensor) -> Tensor:
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(pooled.sigmoid(), places, 2)


def _deformed(parts: Parts, x: Tensor) -> Tensor:
    """Every head reads the map in places of its own."""
    batch = x.shape[0]
    places = parts["offsets"](x).view(batch, 16, 4, 3, 2).transpose(1, 2).flatten(0, 1).tanh()
    values = parts["reader"](x).transpose(1, 2).reshape(batch * 4, 3, 4, 4)
    read = F.grid_sample(values, places, align_corners=False).mean(-1)
    return parts["out"](read.reshape(batch, 12, 16).transpose(1, 2))


def _positions(parts: Parts, x: Tensor) -> Tensor:
    return x + parts["table"](torch.arange(16).expand(x.shape[0], -1))


def _up() -> dict[str, nn.Module]:
    return {"up": nn.Linear(8, 8)}


def _deformable() -> dict[str, nn.Module]:
    return {"offsets": nn.Linear(8, 24), "reader": nn.Linear(8, 12), "out": nn.Linear(12, 8)}


CASES = {
    "gather of tokens": Case(_gathered, tokens=True),
    "gather by score": Case(_gathered_by_score, lambda: {"score": nn.Linear(8, 1)}, tokens=True),
    "gather along space": Case(lambda p, x: x.flatten(2).gather(2, torch.arange(4).expand(x.shape[0], 8, 4))),
    "gather of some channels": Case(lambda p, x: x.gather(2, x[:, :5, :1].argsort(2)), share=0.0),
    "gather along channels": Case(lambda p, x: x.gather(1, x.argsort(2)), share=0.0),
    "one token of each": Case(_picked, tokens=True),
    "scatter": Case(_sorted_back, _up, tokens=True),
    "scatter of a number": Case(
        lambda p, x: x.scatter(1, _strongest(x)[..., None].expand(-1, -1, 8), 0.5), tokens=True
    ),
    "scatter by adding": Case(_added, tokens=True),
    "rows under a mask": Case(_filled_in, _up, tokens=True),
    "elements under a mask": Case(
        _filled_anywhere, _up, tokens=True, share=0.0, frozen=frozenset({"masked_scatter"})
    ),
    "unpooling": Case(_unpooled, lambda: {"same": nn.Conv2d(8, 8, 1)}),
    "unpooling alike": Case(_unpooled_alike),
    "repeat_interleave by a tensor": Case(lambda p, x: x.repeat_interleave(TIMES, 1, output_size=10), share=0.5),
    "repeat_interleave of an unknown sum": Case(lambda p, x: x.repeat_interleave(TIMES, 1), share=0.0),
    "repeat_interleave of tokens by a tensor": Case(
        lambda p, x: x.repeat_interleave(torch.cat([TIMES, TIMES]), 1), tokens=True
    ),
    "deformable": Case(_deformed, _deformable, tokens=True),
    "embedding of expanded places": Case(_positions, lambda: {"table": nn.Embedding(20, 8)}, tokens=True, share=0.9),
    "bag of rows": Case(
        lambda p, x: x + p["bag"](torch.arange(6).view(1, 6)), lambda: {"bag": nn.EmbeddingBag(12, 8)}, tokens=True
    ),
    "distances": Case(lambda p, x: torch.cdist(x, p.codes), lambda: {"codes": parameter(5, 8)}, tokens=True),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
