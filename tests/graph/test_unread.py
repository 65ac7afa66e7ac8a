"""What the captured graph does not read: it shrinks with what it meets, or training goes without; it never crashes."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from architectures import conv
from plans import check_proof, check_training, random_plan
from torch import Tensor, nn

from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze

IMAGE = (torch.randn(1, 3, 8, 8),)
Mask = Callable[[nn.Parameter, Tensor], Tensor]


def _written(token: nn.Parameter, x: Tensor) -> Tensor:
    mask = torch.from_numpy(np.random.rand(*x.shape[:2]) < 0.5)
    x = x.clone()
    x[mask] = token
    return x


def _chosen(token: nn.Parameter, x: Tensor) -> Tensor:
    return torch.where(torch.rand(x.shape[:2])[..., None] < 0.5, token, x)


def _kept_or_not(token: nn.Parameter, x: Tensor) -> Tensor:
    """Control flow that depends on a number drawn."""
    return x + token if torch.rand([]) < 2 else x


def _unknown(token: nn.Parameter, x: Tensor) -> Tensor:
    return x + token.sort().values


def _hidden(token: nn.Parameter, x: Tensor) -> Tensor:
    """Written through a view of a tensor that is read later."""
    x = x.clone()
    x[:, 0].copy_(token)
    return x


class Masking(nn.Module):
    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.embed, self.token, self.mask = nn.Linear(3, 24), nn.Parameter(torch.randn(24)), mask

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.flatten(2).transpose(1, 2))
        return self.mask(self.token, x) if self.training else x


class Masked(nn.Module):
    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.masking = Masking(mask)
        self.mlp, self.head = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 24)), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.masking(x)
        return self.head((x + self.mlp(x)).mean(1))


class InRoot(Masking):
    """There is no module in it that could be grafted."""

    def __init__(self) -> None:
        super().__init__(_unknown)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(super().forward(x).mean(1))


class Auxiliary(nn.Module):
    """A second classifier that helps training, on maps of the first layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = conv(3, 8), conv(8, 12), nn.Linear(12, 5)
        self.norm, self.aux = nn.BatchNorm2d(8), nn.Sequential(conv(8, 6), nn.Flatten(), nn.Linear(384, 5))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.stem(x)
        main = self.head(self.body(y).mean((2, 3)))
        return (main, self.aux(self.norm(y))) if self.training else (main,)


class Unused(Auxiliary):
    """Computes always what it gives out only with targets."""

    def forward(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, ...]:
        y = self.stem(x)
        main, other = self.head(self.body(y).mean((2, 3))), self.aux(self.norm(y))
        return (main,) if targets is None else (main, other)


class NeedsTargets(Auxiliary):
    def forward(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, ...]:
        if self.training and targets is None:
            raise ValueError("training needs targets")
        return super().forward(x)


def pruned_of(module: nn.Module) -> tuple[GraphAnalysis, PrunedModel]:
    torch.manual_seed(0)
    analysis = analyze(module.eval(), IMAGE)
    return analysis, analysis.prune(random_plan(analysis, 0), trials=1)


@pytest.mark.parametrize("mask", [_written, _chosen, _kept_or_not])
def test_a_mask_token_shrinks_with_the_tokens(mask: Mask) -> None:
    analysis, pruned = pruned_of(Masked(mask))
    check_proof(pruned)
    assert pruned.proof.product == "eager"
    assert pruned.kept["masking.token"][0] == pruned.kept["masking.embed.weight"][0]
    assert len(pruned.kept["masking.token"][0]) < 24
    check_training(pruned.module, IMAGE)
    pruned.module.train()(torch.randn(4, 3, 8, 8)).sum().backward()
    assert pruned.module.masking.token.grad is not None
    again = analysis.rebuild({}, "eager")
    assert again.masking.token.shape == (24,)


@pytest.mark.parametrize("kind", [Auxiliary, Unused])
def test_an_auxiliary_head_follows_what_it_reads(kind: type[nn.Module]) -> None:
    _, pruned = pruned_of(kind())
    check_proof(pruned)
    stem = pruned.kept["stem.0.weight"][0]
    assert pruned.proof.product == "eager"
    assert len(stem) < 8
    assert pruned.kept["aux.0.0.weight"] == {1: stem}
    assert pruned.kept["norm.running_mean"] == {0: stem}
    assert pruned.module.aux[2].weight.shape == (5, 384)
    check_training(pruned.module, IMAGE)


@pytest.mark.parametrize("mask", [_unknown, _hidden])
def test_where_the_place_is_unknown_a_graft_trains_without(mask: Mask) -> None:
    analysis, pruned = pruned_of(Masked(mask))
    check_proof(pruned)
    assert (pruned.proof.product, pruned.proof.grafted) == ("grafted", ("masking",))
    assert set(pruned.module.state_dict()) == set(analysis.module.state_dict())
    check_training(pruned.module, IMAGE)


def test_where_that_is_in_the_models_own_forward_the_graph_is_the_product() -> None:
    _, pruned = pruned_of(InRoot())
    check_proof(pruned)
    assert pruned.proof.product == "graph"
    check_training(pruned.module, IMAGE)


def test_what_cannot_train_alone_is_not_asked_to() -> None:
    _, pruned = pruned_of(NeedsTargets())
    check_proof(pruned)
    assert pruned.proof.product == "eager"


def test_the_programs_random_numbers_stay_as_they_were() -> None:
    module = Masked(_written).eval()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    analyze(module, IMAGE)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]
    assert random.getstate() == states[2]
