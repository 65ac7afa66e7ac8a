"""Recurrent layers: their hidden size goes as one unit through all gates."""

from __future__ import annotations

import pytest
from rule_cases import Case, Parts, check_case
from torch import Tensor, nn


def _whole(parts: Parts, x: Tensor) -> Tensor:
    return parts["cell"](x)[0]


def _last(parts: Parts, x: Tensor) -> Tensor:
    """The final state, as classifiers of sequences read it."""
    state = parts["cell"](x)[1]
    return (state[0] if isinstance(state, tuple) else state)[-1]


def _stepped(parts: Parts, x: Tensor) -> Tensor:
    """Cells, which torch writes out in simpler operations."""
    first = parts["cell"](x[:, 0])
    second = parts["cell"](x[:, 1], first)
    return second[0] if isinstance(second, tuple) else second


def _made(kind: type[nn.Module], **options: object) -> dict[str, nn.Module]:
    return {"cell": kind(8, 6, batch_first=True, **options)}


def _both_ways(parts: Parts, x: Tensor) -> Tensor:
    """Rows and columns, as sequencers run over images."""
    return parts["up"](parts["cell"](x)[0]) + x


CASES = {
    "lstm": Case(_whole, lambda: _made(nn.LSTM), tokens=True),
    "lstm, last state": Case(_last, lambda: _made(nn.LSTM), tokens=True),
    "lstm of two layers": Case(_whole, lambda: _made(nn.LSTM, num_layers=2), tokens=True),
    "lstm in both directions": Case(_whole, lambda: _made(nn.LSTM, bidirectional=True), tokens=True),
    "lstm without bias": Case(_whole, lambda: _made(nn.LSTM, bias=False), tokens=True),
    "lstm with a projection": Case(_whole, lambda: _made(nn.LSTM, proj_size=4), tokens=True, share=0.5),
    "lstm with a projection, in both directions": Case(
        _whole, lambda: _made(nn.LSTM, proj_size=4, num_layers=2, bidirectional=True), tokens=True, share=0.5
    ),
    "lstm with a projection, last state": Case(_last, lambda: _made(nn.LSTM, proj_size=4), tokens=True, share=0.5),
    "lstm cell": Case(_stepped, lambda: {"cell": nn.LSTMCell(8, 6)}, tokens=True),
    "gru cell": Case(_stepped, lambda: {"cell": nn.GRUCell(8, 6)}, tokens=True),
    "lstm with a residual": Case(
        _both_ways, lambda: {**_made(nn.LSTM, bidirectional=True), "up": nn.Linear(12, 8)}, tokens=True
    ),
    "gru": Case(_whole, lambda: _made(nn.GRU), tokens=True),
    "gru, last state": Case(_last, lambda: _made(nn.GRU, num_layers=2), tokens=True),
    "gru in both directions": Case(_whole, lambda: _made(nn.GRU, bidirectional=True), tokens=True),
    "rnn": Case(_whole, lambda: _made(nn.RNN), tokens=True),
    "rnn with relu": Case(_whole, lambda: _made(nn.RNN, nonlinearity="relu"), tokens=True),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, about its speed
@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
