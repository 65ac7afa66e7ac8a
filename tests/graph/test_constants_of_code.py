"""Tensors that the user's code makes in its forward, which torch lifts out of it as constants."""

from __future__ import annotations

import copy

import torch
from plans import check_proof, random_plan
from torch import Tensor, nn

from deployprune.graph.analysis import analyze
from deployprune.graph.capture import capture


class Standardised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.sqrt(torch.tensor(12.0))
        return self.head(torch.relu(self.stem(x)).mean((2, 3)))


def test_copies_of_a_graph_save_what_the_model_saves() -> None:
    model = Standardised().eval()
    graph = capture(model, (torch.randn(1, 3, 16, 16),)).module
    assert set(graph.state_dict()) == set(copy.deepcopy(graph).state_dict()) == set(model.state_dict())


def test_the_own_module_is_kept_with_the_constants_of_its_code() -> None:
    analysis = analyze(Standardised().eval(), (torch.randn(1, 3, 16, 16),))
    assert analysis.record.product == "eager"
    pruned = analysis.prune(random_plan(analysis, 0))
    check_proof(pruned)
    assert pruned.proof.product == "eager"
