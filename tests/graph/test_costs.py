"""MACs: what the analysis says of a model is what torch counts on it, dense and pruned."""

from __future__ import annotations

import pytest
import test_rules_attention
import test_rules_contraction
import test_rules_recurrent
import torch
from plans import random_plan
from rule_cases import Case, analyze_case
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from deployprune.graph.analysis import analyze

CONTRACTION, ATTENTION = test_rules_contraction.CASES, test_rules_attention.CASES
COUNTED: dict[str, Case] = {
    **{
        name: CONTRACTION[name]
        for name in ("linear", "conv2d", "grouped", "matmul with a parameter", "einsum", "addmm")
    },
    "attention": ATTENTION["fused projection"],
}
RECURRENT = [name for name, case in test_rules_recurrent.CASES.items() if case.share]


def _counted(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Fused attention is not known to torch's counter on every device, so it is written out."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        module(*inputs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", COUNTED)
def test_macs_are_those_that_torch_counts(name: str) -> None:
    analysis = analyze_case(COUNTED[name])
    plan = random_plan(analysis, 0)
    widths = analysis.record.dense_widths() | {group: len(kept) for group, kept in plan.items()}
    inputs = analysis.graph.captured.inputs
    assert analysis.record.macs == _counted(analysis.module, inputs)
    assert analysis.record.macs_at(widths) == _counted(analysis.prune_shapes(plan), inputs)


class _Steps(nn.Module):
    """A recurrent layer between two linear ones, over 16 steps."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.stem, self.cell = nn.Linear(3, cell.input_size), cell
        self.head = nn.Linear((cell.proj_size or cell.hidden_size) * (1 + cell.bidirectional), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.stem(x))[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, about its speed
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_every_weight_of_a_recurrent_layer_counts_once_a_step(kind: type[nn.RNNBase], options: dict[str, int]) -> None:
    _check_steps(_Steps(kind(8, 6, batch_first=True, **options)))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_so_do_those_of_a_projection() -> None:
    _check_steps(_Steps(nn.LSTM(8, 6, batch_first=True, num_layers=2, bidirectional=True, proj_size=4)))


def _check_steps(module: _Steps) -> None:
    """A matrix takes one MAC an element and step, pruned or not."""
    analysis = analyze(module.eval(), (torch.randn(1, 16, 3),))
    plan = random_plan(analysis, 0)
    widths = analysis.record.dense_widths() | {group: len(kept) for group, kept in plan.items()}
    for macs, part in ((analysis.record.macs, module), (analysis.record.macs_at(widths), analysis.prune_shapes(plan))):
        assert macs == 16 * sum(parameter.numel() for parameter in part.parameters() if parameter.ndim == 2)
