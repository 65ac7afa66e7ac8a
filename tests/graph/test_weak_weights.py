"""Weights that are small, as before training, hide what a layer does: the proof must see it all the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from plans import random_plan
from torch import Tensor, nn

from deployprune.graph.analysis import analyze


class _Attention(nn.Module):
    """Its forward runs at any width, but the scale of its scores is that of the width it has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 16)
        self.query, self.key, self.value = (nn.Linear(16, 16) for _ in range(3))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x)))


def test_an_attention_that_would_change_its_scale_is_no_product() -> None:
    torch.manual_seed(0)
    module, inputs = _Attention().eval(), (torch.randn(2, 5, 6),)
    with torch.no_grad():
        module.query.weight.mul_(1e-3)
        module.key.weight.mul_(1e-3)
    analysis = analyze(module, inputs)
    plan = random_plan(analysis, 0)
    pruned, graph = analysis.prune(plan).module, analysis.prune_shapes(plan)
    with torch.no_grad():
        for part in (pruned, graph):
            parameters = dict(part.named_parameters())
            for name in ("query.weight", "key.weight"):
                parameters[name].mul_(1e4)
        torch.testing.assert_close(pruned(*inputs), graph(*inputs))


def test_a_dead_last_layer_proves_nothing() -> None:
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3), nn.ReLU()).eval()
    with torch.no_grad():
        module[2].bias.fill_(-1000.0)
    analysis = analyze(module, (torch.randn(2, 6),))
    proof = analysis.prune(random_plan(analysis, 0)).proof
    assert proof.relative_difference == 0.0
    assert not proof.mask_changed_output


def test_normalisations_that_give_almost_nothing_do_not_hide_the_mask() -> None:
    def block(width: int) -> list[nn.Module]:
        return [nn.Conv2d(width, 8, 1), nn.BatchNorm2d(8), nn.ReLU()]

    module = nn.Sequential(*block(3), *(part for _ in range(11) for part in block(8))).eval()
    with torch.no_grad():
        for norm in module[1::3]:
            norm.weight.fill_(0.02)
    proof = (analysis := analyze(module, (torch.randn(1, 3, 4, 4),))).prune(random_plan(analysis, 0)).proof
    assert proof.mask_changed_output


class _Temperature(nn.Module):
    """Takes roots and logarithms of what training keeps positive."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 16), nn.Linear(16, 3)
        self.scale, self.variance = nn.Parameter(torch.ones(16, 1)), nn.Parameter(torch.full((16,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x) * self.scale.log().exp()[:, 0] / self.variance.sqrt())


def test_what_is_positive_stays_so_in_the_proof() -> None:
    analysis = analyze(_Temperature().eval(), (torch.randn(2, 6),))
    proof = analysis.prune(random_plan(analysis, 0)).proof
    assert proof.relative_difference < 1e-9
    assert proof.mask_changed_output


class _Large(nn.Module):
    """Reads of a tensor with more elements than a single-precision number can count."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("table", torch.zeros(2**25, dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).relu() + self.table[:1])


def test_large_tensors_are_known_by_samples_inside_them() -> None:
    analysis = analyze(_Large().eval(), (torch.randn(2, 6),))
    assert analysis.prune(random_plan(analysis, 0), trials=1).proof.product == "eager"
