"""Residual branches: found, left out whole, and proven like any other pruning."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from deployprune.errors import UsageError
from deployprune.graph.analysis import GraphAnalysis, analyze


class Convolutions(nn.Module):
    """A residual branch of two or three convolutions."""

    def __init__(self, outer: int, inner: int, *, bottleneck: bool = False) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(outer, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU())
        self.middle = nn.Conv2d(inner, inner, 3, padding=1) if bottleneck else nn.Identity()
        self.project = nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.project(self.middle(self.expand(x))))


class Sides(nn.Module):
    """A sum of two branches that both have channels of their own."""

    def __init__(self, outer: int) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(outer, 6, 1), nn.ReLU(), nn.Conv2d(6, outer, 1))
        self.right = nn.Sequential(nn.Conv2d(outer, 9, 1), nn.ReLU(), nn.Conv2d(9, outer, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


class Net(nn.Module):
    """A stem, residual blocks and a head."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def analysed(*blocks: nn.Module) -> GraphAnalysis:
    torch.manual_seed(0)
    return analyze(Net(*blocks).eval(), (torch.randn(1, 3, 8, 8),))


def branches_of(analysis: GraphAnalysis) -> dict[str, str | None]:
    return {group.name: group.branch for group in analysis.record.groups}


def without(analysis: GraphAnalysis, *branches: str, keep: float = 1.0) -> dict[str, list[int]]:
    """Units of all groups, but for those of ``branches``."""
    groups = analysis.record.groups
    return {g.name: [] if g.branch in branches else list(range(max(1, int(keep * g.size)))) for g in groups}


def test_groups_know_the_branch_they_live_in() -> None:
    analysis = analysed(Convolutions(8, 12), Convolutions(8, 10, bottleneck=True))
    assert branches_of(analysis) == {
        "stem": None,
        "blocks.0.expand.0": "blocks.0",
        "blocks.1.expand.0": "blocks.1",
        "blocks.1.middle": "blocks.1",
    }


@pytest.mark.parametrize("gone", [("blocks.0",), ("blocks.1",), ("blocks.0", "blocks.1")])
@pytest.mark.parametrize("keep", [1.0, 0.6])
def test_a_branch_that_is_left_out_is_proven(gone: tuple[str, ...], keep: float) -> None:
    analysis = analysed(Convolutions(8, 12), Convolutions(8, 10, bottleneck=True))
    pruned = analysis.prune(without(analysis, *gone, keep=keep))
    assert pruned.proof.relative_difference < 1e-12
    assert pruned.proof.mask_changed_output
    names = [name for name, _ in pruned.module.named_parameters()]
    assert not any(name.startswith(branch) for name in names for branch in gone)
    assert all(pruned.widths[name] == 0 for name, branch in branches_of(analysis).items() if branch in gone)


def test_what_is_left_computes_as_the_model_does_without_the_branch() -> None:
    analysis = analysed(Convolutions(8, 12), Convolutions(8, 10))
    shorter = copy.deepcopy(analysis.module)
    shorter.blocks[0] = nn.ReLU()
    x = torch.randn(3, 3, 8, 8)
    pruned = analysis.prune(without(analysis, "blocks.0")).module
    torch.testing.assert_close(pruned(x), shorter(x))
    pruned.train()
    pruned(x).sum().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


def test_it_is_made_again_from_what_was_kept() -> None:
    analysis = analysed(Convolutions(8, 12), Convolutions(8, 10))
    kept = without(analysis, "blocks.1", keep=0.5)
    pruned = analysis.prune(kept)
    proof = pruned.proof
    again = analysis.rebuild(kept, proof.product, pruned.attributes, proof.grafted)
    again.load_state_dict(pruned.module.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(again.eval()(x), pruned.module.eval()(x))


def test_of_two_sides_one_stays() -> None:
    analysis = analysed(Sides(8))
    found = {branch for branch in branches_of(analysis).values() if branch}
    assert len(found) == 1
    assert analysis.prune(without(analysis, *found)).proof.relative_difference < 1e-12


def test_only_a_whole_branch_can_be_emptied() -> None:
    analysis = analysed(Convolutions(8, 10, bottleneck=True))
    with pytest.raises(UsageError, match=r"'stem'"):
        analysis.removal({"stem": []})
    with pytest.raises(UsageError, match=r"some of blocks\.0\.middle"):
        analysis.removal({"blocks.0.expand.0": []})
