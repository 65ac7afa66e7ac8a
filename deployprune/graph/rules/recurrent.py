"""LSTM, GRU and plain recurrent layers: a hidden unit is one row of every gate, and one column of what reads it.

Where all its weights, its biases and its first state are zero, a hidden unit stays zero in each of these kinds; so the
masked twin zeroes its operands. All layers and directions share their states, so they lose the same units. Where an
LSTM projects its hidden state, what it projects to is the unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployprune.graph.labels import Ids, Labels, Span
from deployprune.graph.rules.base import Call, Rule, Value, settle, span_of
from deployprune.graph.rules.contraction import contract
from deployprune.graph.rules.joining import concatenate
from deployprune.graph.rules.masking import zeroed

__all__ = ["RULES"]

_SAME = {0: 0, 1: 1, 2: 2}


def _recurrent(gates: int) -> Rule:
    """The rule of a layer with this many gates."""

    def labels(call: Call) -> list[Labels]:
        x: Value = call["input"]
        states: list[Value] = call["hx"] if isinstance(call["hx"], list) else [call["hx"]]
        if x.ndim != 3:
            raise NotImplementedError("no batch")
        parameters = iter(call["params"])
        current = Labels(x.labels.shape, call.atoms.stiffen(x.labels.layers, frozenset({0, 1})))
        for _ in range(call["num_layers"]):
            ways = [_cell(call, current, states, parameters, gates) for _ in range(1 + call["bidirectional"])]
            outs = [way[0] for way in ways]
            current = concatenate(call, outs, 2, (*x.labels.shape[:2], len(outs) * outs[0].shape[2]))
        return [current, *(Labels(s.labels.shape, own.layers) for s, own in zip(states, ways[0], strict=False))]

    return Rule(labels, None, zeroed)


def _cell(
    call: Call, x: Labels, states: Sequence[Value], parameters: Iterator[Value], gates: int
) -> tuple[Labels, Labels]:
    """What comes out of one cell and what it remembers, over the sequence."""
    inner, outer = (_first_gate(call, next(parameters), gates) for _ in range(2))
    shape, hidden = (*x.shape[:2], outer.shape[0]), (*x.shape[:2], outer.shape[1])
    cell = span_of(contract(call, x, inner, ("bnI", "OI", "bnO"), shape), _SAME)
    for vector in [_first_gate(call, next(parameters), gates) for _ in range(2 * call["has_biases"])]:
        cell = call.atoms.meet(cell, span_of(vector, {0: 2}))
    for state in states[1:]:
        cell = call.atoms.meet(cell, _unit_span(call, state))
    out = settle(cell, _SAME, shape)
    if hidden != shape:
        # torch knows a projection by its width, which is another than the cell's: the wider one must not shrink to it.
        call.atoms.freeze_labels(out)
        out = contract(call, out, next(parameters).labels, ("bnI", "OI", "bnO"), hidden)
    again = contract(call, out, outer, ("bnI", "OI", "bnO"), shape)
    cell = call.atoms.meet(cell, span_of(again, _SAME))
    back = span_of(out, _SAME) if hidden != shape else cell
    return settle(call.atoms.meet(back, _unit_span(call, states[0])), _SAME, hidden), settle(cell, _SAME, shape)


def _unit_span(call: Call, state: Value) -> Span:
    """A state's labels along its units, which all layers, directions and examples share."""
    return Span(call.atoms.stiffen(state.labels.layers, frozenset({0, 1})), frozenset({2}))


def _first_gate(call: Call, value: Value, gates: int) -> Labels:
    """A parameter's labels in its first gate, those of the others united with them."""
    size = value.labels.shape[0] // gates
    parts: list[tuple[Sequence[int], Ids]] = []
    for layer in value.labels.layers:
        ids = layer.ids
        if layer.dims == (0,):
            blocks = ids.reshape(gates, size)
            call.atoms.unite(blocks[:1], blocks)
            ids = blocks[0]
        parts.append((layer.dims, ids))
    return Labels((size, *value.labels.shape[1:]), call.atoms.layers(parts))


RULES: dict[str, Rule] = {
    "lstm": _recurrent(4),
    "gru": _recurrent(3),
    "rnn_tanh": _recurrent(1),
    "rnn_relu": _recurrent(1),
}
