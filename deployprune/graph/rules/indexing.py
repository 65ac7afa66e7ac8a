"""Elements read from places that a tensor names: a constant list of them runs literally, of others nothing may go."""

from __future__ import annotations

import torch

from deployprune.graph.labels import Labels, Span
from deployprune.graph.rules import renumbering
from deployprune.graph.rules.base import Call, Rule, Value, named, place, settle

__all__ = ["RULES", "meet_beside"]


def _index(call: Call) -> Labels:
    """One constant list of places runs literally; any other index must not reach into labelled dimensions."""
    x: Value = call["self"]
    indices = call["indices"] if "indices" in call.arguments else [None] * (call["dim"] % x.ndim) + [call["index"]]
    given = [index for index in indices if index is not None]
    layers = x.labels.layers
    for index in given:
        call.atoms.freeze_labels(index.labels)
    if len(given) > 1 or not all(_is_list_of_places(index) for index in given):
        layers = call.atoms.stiffen(layers, frozenset(dim for dim, index in enumerate(indices) if index is not None))
    labels = Labels(x.labels.shape, layers)
    return call.atoms.move(labels, call.run, call.result.shape)


def _is_list_of_places(index: Value) -> bool:
    return index.constant and index.ndim == 1 and index.tensor.dtype in (torch.int32, torch.int64)


def _repeat_interleave(call: Call) -> Labels:
    """Copies of elements: of all as many, or of each as many as a tensor says, whose sum the call must tell."""
    if call["dim"] is None:
        raise NotImplementedError("copies of all elements in one line")
    x, repeats = call["self"], call["repeats"]
    layers = x.labels.layers
    if isinstance(repeats, Value) and not (repeats.constant and isinstance(call.get("output_size"), int)):
        layers = call.atoms.stiffen(layers, frozenset({call["dim"] % x.ndim}))
    return call.atoms.move(Labels(x.labels.shape, layers), call.run, call.result.shape)


def _gather(call: Call) -> Labels:
    """Every element of the index names a place along one dimension."""
    x, index = call["self"], call["index"]
    return meet_beside(call, call["dim"] % x.ndim, [x, index])


def meet_beside(call: Call, dim: int, operands: list[Value]) -> Labels:
    """Tensors of one rank met in all dimensions but ``dim`` and those in which they are not equally long."""
    apart = {d for d in range(operands[0].ndim) if len({value.labels.shape[d] for value in operands}) > 1}
    stiff = frozenset({dim} | apart)
    span = Span((), frozenset())
    for value in operands:
        real = frozenset(d for d, size in enumerate(value.labels.shape) if size > 1 and d not in stiff)
        span = call.atoms.meet(span, Span(call.atoms.stiffen(value.labels.layers, stiff), real))
    return settle(span, {d: d for d in range(operands[0].ndim)}, tuple(call.result.shape))


def _embedding(call: Call) -> Labels:
    """Rows of the weight, one for each index: what may go of the indices goes of the rows."""
    weight, indices = call["weight"].labels, call["indices"].labels
    layers = call.atoms.stiffen(weight.layers, frozenset({0}))
    return Labels(tuple(call.result.shape), (*indices.layers, *place(layers, {1: len(call.result.shape) - 1})))


def _bag(call: Call) -> list[Labels]:
    """Rows of the weight, added up, averaged, or their maxima; beside them whole numbers about the bags."""
    layers = call.atoms.stiffen(call["weight"].labels.layers, frozenset({0}))
    return [Labels(tuple(call.result[0].shape), layers), *(Labels(tuple(other.shape)) for other in call.result[1:])]


RULES: dict[str, Rule] = {
    **named("index index_select _unsafe_index", Rule(_index, renumbering.renumber_indices)),
    "repeat_interleave": Rule(_repeat_interleave, renumbering.renumber_repeats),
    "gather": Rule(_gather),
    "embedding": Rule(_embedding),
    **named("embedding_bag _embedding_bag _embedding_bag_forward_only", Rule(_bag)),
}
