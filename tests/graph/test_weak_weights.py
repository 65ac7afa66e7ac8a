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
