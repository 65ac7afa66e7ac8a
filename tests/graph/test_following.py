"""The user's own code without a graft: what it takes to be equal stays equal, what it cannot follow is not offered."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from plans import check_proof, check_training, random_plan
from torch import Tensor, nn
from torch.nn import functional as F

from deployprune.graph.analysis import GraphAnalysis, analyze

IMAGE = (torch.randn(1, 3, 16, 16),)


class Model(nn.Module):
    """A stem, residual mixers over tokens and a head."""

    def __init__(self, mixer: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem, self.mixers, self.head = nn.Conv2d(3, 12, 4, 4), nn.Sequential(mixer(), mixer()), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mixers(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


class Reduced(nn.Module):
    """Takes what its convolution gives to be as wide as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.norm, self.out = nn.Conv2d(12, 12, 2, 2), nn.LayerNorm(12), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        y = self.reduce(x.transpose(1, 2).reshape(b, c, 4, 4)).reshape(b, c, -1).transpose(1, 2)
        return x + self.out(F.relu(self.norm(y))).mean(1, keepdim=True)


class Halves(nn.Module):
    """Splits by the width of its input, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.out = nn.Linear(12, 24), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        gate, y = torch.split(self.both(x), (x.shape[-1], x.shape[-1]), dim=-1)
        return x + self.out(F.silu(gate)) * y.mean(1, keepdim=True)


class OneHead(nn.Module):
    """One size for queries and values, and a scale that is read off it: the size has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 8
        self.query, self.key, self.value = nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(12, 8)
        self.out = nn.Linear(8, 12)
        self.mlp = nn.Sequential(nn.Linear(12, 160), nn.ReLU(), nn.Linear(160, 12))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = (q @ k.transpose(2, 3) / self.size**0.5).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Scaled(OneHead):
    """One size for queries and values, but a scale of its own: the size can become another."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = self.size**-0.5

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = (q @ k.transpose(2, 3) * self.scale).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class ReducedOneHead(OneHead):
    """Keys and values of what is taken to be as wide as the input, and of a size that has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(12, 12, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        b, _, c = x.shape
        shape = (b, -1, 1, self.size)
        less = self.reduce(x.transpose(1, 2).reshape(b, c, 4, 4)).reshape(b, c, -1).transpose(1, 2)
        q, k, v = (layer(z).view(shape).transpose(1, 2) for layer, z in zip(self.layers, (x, less, less), strict=True))
        y = (q @ k.transpose(2, 3) / self.size**0.5).softmax(-1) @ v
        return x + self.mlp(self.out(y.transpose(1, 2).flatten(2)))

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        return self.query, self.key, self.value


class Biased(nn.Module):
    """Numbers added to every dimension of every head, and a scale that is read off the number of dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.size, self.bias = 3, nn.Parameter(torch.randn(4, 3))
        self.query, self.key, self.value, self.out = (nn.Linear(12, 12) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.size)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        y = ((q + self.bias[:, None]) @ k.transpose(2, 3) / self.size**0.5).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).flatten(2))


class Fused(Biased):
    """The same with one layer for queries, keys and values: a head's channels are in three pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.qkv = 4, nn.Linear(12, 36)
        del self.query, self.key, self.value

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = ((q + self.bias[:, None]) @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).flatten(2))


class Slots(nn.Module):
    """Makes two steps of every one, and zeros up to a length of its own: both steps have to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.times, self.up, self.out = (
            2,
            nn.Linear(12, 16),
            nn.Sequential(nn.Linear(8, 90), nn.ReLU(), nn.Linear(90, 12)),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        y = F.relu(self.up(x)).reshape(b, n, self.times, -1).reshape(b, n * self.times, -1)
        return x + self.out(F.pad(y, (0, 0, 0, 40 - y.shape[1])).mean(1, keepdim=True))


class Bare(nn.Module):
    """Norms without parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.groups, self.narrow = nn.Conv1d(12, 24, 1), nn.GroupNorm(4, 24, affine=False), nn.Linear(24, 12)
        self.norm = nn.LayerNorm(24, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.groups(self.wide(x.transpose(1, 2))))
        return x + self.narrow(self.norm(y.transpose(1, 2)))


class Pairs(nn.Module):
    """Reshapes one pair of features like another: with two of each, both have one in every plan that takes any."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 2), nn.Linear(12, 2)
        self.ends, self.mlp = nn.ModuleList([nn.Linear(2, 12), nn.Linear(2, 12)]), nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.first(x))
        second = F.relu(self.second(x)).reshape(first.shape)
        return x + self.ends[0](first) * F.relu(self.mlp(x)) + self.ends[1](second)


MIXERS: dict[str, type[nn.Module]] = {
    "reduced": Reduced,
    "halves": Halves,
    "one head": OneHead,
    "scaled": Scaled,
    "reduced one head": ReducedOneHead,
    "biased": Biased,
    "fused": Fused,
    "slots": Slots,
    "bare": Bare,
    "pairs": Pairs,
}


@cache
def analysed(name: str) -> GraphAnalysis:
    torch.manual_seed(0)
    return analyze(Model(MIXERS[name]).eval(), IMAGE)


@pytest.mark.parametrize("name", MIXERS)
def test_the_own_code_follows_without_a_graft(name: str) -> None:
    analysis = analysed(name)
    assert (analysis.record.product, analysis.record.grafted) == ("eager", ())
    assert analysis.record.prunable_parameters >= 0.7 * analysis.record.parameters
    for seed in range(3):
        plan = random_plan(analysis, seed)
        pruned = analysis.prune(plan, trials=1, seed=seed)
        check_proof(pruned)
        assert pruned.proof.product == "eager"
        assert {name: len(kept) for name, kept in plan.items()} == pruned.widths
    check_training(pruned.module, IMAGE)


@pytest.mark.parametrize(
    ("name", "tied", "apart"),
    [
        ("reduced", ("stem.weight", "mixers.0.reduce.weight", "mixers.1.reduce.weight"), ()),
        ("halves", ("stem.weight", "mixers.0.out.weight", "mixers.1.both.weight"), ()),
        ("scaled", ("mixers.0.query.weight", "mixers.0.value.weight"), ("stem.weight", "mixers.1.query.weight")),
    ],
)
def test_only_widths_that_the_code_takes_to_be_equal_are_tied(
    name: str, tied: tuple[str, ...], apart: tuple[str, ...]
) -> None:
    groups = [{axis.parameter for axis in group.axes if axis.dim == 0} for group in analysed(name).record.groups]
    (group,) = (names for names in groups if tied[0] in names)
    assert group.issuperset(tied)
    assert group.isdisjoint(apart)


@pytest.mark.parametrize("name", ["one head", "reduced one head"])
def test_a_size_that_a_scale_is_read_off_stays(name: str) -> None:
    offered = {axis.parameter for group in analysed(name).record.groups for axis in group.axes if axis.dim == 0}
    assert offered.isdisjoint(f"mixers.{index}.{name}.weight" for index in (0, 1) for name in ("query", "value"))
    assert {"stem.weight", "mixers.0.mlp.0.weight"} <= offered
