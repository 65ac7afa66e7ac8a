"""The captured graph trains like the module: what torch's functional form cannot train is put back."""

from __future__ import annotations

import torch
from plans import check_proof, check_training, random_plan
from torch import Tensor, nn

from deployprune.graph.analysis import analyze


class Shift(nn.Module):
    """Writes channels of the frames before and after into a tensor of zeros, single numbers, and half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.head = nn.Conv1d(3, 16, 1), nn.Conv1d(16, 12, 1), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out = torch.zeros_like(x)
        out[:, :4, 1:] = x[:, :4, :-1]
        out[:, 4:8, :-1] = x[:, 4:8, 1:].double()
        out[:, 8:] = x[:, 8:]
        out[:, :, 0] = 0.5
        return self.head(self.last(out).mean(2))


def test_what_is_written_in_place_has_a_gradient() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(2, 3, 6),)
    analysis = analyze(Shift().eval(), inputs)
    plan = random_plan(analysis, 0)
    check_proof(analysis.prune(plan, trials=1))
    graph = analysis.prune_shapes(plan)
    check_training(graph, inputs)
    graph(*inputs).square().sum().backward()
    assert graph.get_parameter("stem.weight").grad.abs().min() > 0
