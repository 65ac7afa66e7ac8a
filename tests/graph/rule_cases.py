"""Minimal networks for one operation each: a layer makes channels, the operation is run, a head reads the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from plans import check_proof, check_shapes, random_plan
from torch import Tensor, nn

from deployprune.errors import UnsupportedModelError
from deployprune.graph.analysis import GraphAnalysis, analyze

CHANNELS, SIDE = 8, 4
Parts = nn.ModuleDict
Body = Callable[[Parts, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """``body(parts, x)`` is the operation; ``x`` is ``(batch, 8, 4, 4)``, or tokens ``(batch, 16, 8)``.

    ``makes`` builds the modules and parameters that it uses. ``share`` is the part of the parameters that must be
    prunable at least, and 0 says that nothing can be; ``frozen`` names the operations that may freeze something.
    """

    body: Body
    makes: Callable[[], Mapping[str, nn.Module | nn.Parameter]] = dict
    tokens: bool = False
    share: float = 0.94
    frozen: frozenset[str] = frozenset()


class Net(nn.Module):
    """The network of a case."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        made = case.makes()
        self.parts = nn.ModuleDict({name: part for name, part in made.items() if isinstance(part, nn.Module)})
        for name, part in made.items():
            if isinstance(part, nn.Parameter):
                self.parts.register_parameter(name, part)
        self.body, self.tokens = case.body, case.tokens
        self.stem = nn.Conv2d(3, CHANNELS, 1)
        with torch.no_grad():
            self.head = nn.Linear(self._features(torch.zeros(1, 3, SIDE, SIDE)).shape[1], 3)

    def _features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.body(self.parts, x.flatten(2).transpose(1, 2) if self.tokens else x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._features(x))


def parameter(*shape: int, scale: float = 0.5) -> nn.Parameter:
    return nn.Parameter(scale * torch.randn(shape))


def analyze_case(case: Case) -> GraphAnalysis:
    torch.manual_seed(0)
    return analyze(Net(case).eval(), (torch.randn(2, 3, SIDE, SIDE),))


def check_case(case: Case) -> None:
    """What the case says can be pruned is pruned, and equals the masked twin under random plans."""
    if case.share == 0:
        with pytest.raises(UnsupportedModelError, match="nothing in this model can be pruned"):
            analyze_case(case)
        return
    analysis = analyze_case(case)
    record = analysis.record
    assert {item.op for item in record.frozen} <= case.frozen | {"head dimension"}, record.frozen
    assert record.prunable_parameters >= case.share * record.parameters
    for seed in range(3):
        plan = random_plan(analysis, seed)
        check_proof(analysis.prune(plan, trials=1, seed=seed))
        check_shapes(analysis, plan)
