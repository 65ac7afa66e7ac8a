"""Assignment: a tensor with values written over some of its places.

Nothing may go along the dimensions that the places are chosen in, unless a call names a range of them by numbers. Then,
and along all other dimensions, what is written meets what it is written over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from deployprune.graph.labels import Labels, Span
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value, named, settle, span_of
from deployprune.graph.rules.indexing import meet_beside
from deployprune.graph.rules.pointwise import POINTWISE, meet_all

__all__ = ["RULES"]


def _index_put(call: Call) -> Labels:
    x: Value = call["self"]
    chosen, places = _chosen(call["indices"])
    for index in call["indices"]:
        if index is not None:
            call.atoms.freeze_labels(index.labels)
    before = [dim for dim in range(x.ndim) if dim < chosen[0]]
    after = [dim for dim in range(x.ndim) if dim > chosen[-1]]
    return _write(call, chosen, call["values"], [*before, *range(x.ndim, x.ndim + places), *after])


def _slice_scatter(call: Call) -> Labels:
    x, written = call["self"], call["src"]
    dim = call["dim"] % x.ndim
    if written.tensor.shape == x.tensor.shape:
        return meet_all(call, [x, written], tuple(call.result.shape))
    place = _range(call.literal, x.labels.shape[dim])
    if place is not None:
        under = call.atoms.move(x.labels, lambda t: t.narrow(dim, place.start, len(place)), written.labels.shape)
        meet_all(call, [Value(under, written.tensor, False), written], written.labels.shape)
        return Labels(tuple(call.result.shape), x.labels.layers)
    return _write(call, [dim], written, [other if other != dim else x.ndim for other in range(x.ndim)])


def _range(arguments: Mapping[str, Any], size: int) -> range | None:
    """The places that a call writes to, where it names them by numbers and leaves none out."""
    bounds = [arguments.get("start"), arguments.get("end"), arguments.get("step", 1)]
    if any(isinstance(bound, fx.Node) for bound in bounds):
        return None
    places = range(size)[slice(*bounds)]
    return places if places.step == 1 and places else None


def _renumber_range(call: Rewrite) -> None:
    source = call.arguments["self"]
    shape = call.shapes(source)
    dim = call.arguments.get("dim", 0) % len(shape)
    keep, place = call.keeps(source)[dim], _range(call.arguments, shape[dim])
    if keep is not None and place is not None:
        call.set("start", int((keep < place.start).sum()))
        call.set("end", int((keep < place.stop).sum()))


def _select_scatter(call: Call) -> Labels:
    x: Value = call["self"]
    dim = call["dim"] % x.ndim
    return _write(call, [dim], call["src"], [other for other in range(x.ndim) if other != dim])


def _write(call: Call, chosen: list[int], written: Value, block: list[int]) -> Labels:
    """``block`` names the dimensions that ``written`` is broadcast to, by those of the tensor or by greater numbers."""
    x: Value = call["self"]
    same = {dim: dim for dim in range(x.ndim)}
    span = span_of(written.labels, dict(zip(range(written.ndim - 1, -1, -1), reversed(block), strict=False)))
    places = frozenset(dim for dim in block if dim >= x.ndim)
    own = span_of(Labels(x.labels.shape, call.atoms.stiffen(x.labels.layers, frozenset(chosen))), same)
    met = call.atoms.meet(own, Span(call.atoms.stiffen(span.layers, places), span.real - places))
    return settle(met, same, tuple(call.result.shape))


def _scatter(call: Call) -> Labels:
    """Every element of the index names a place along one dimension."""
    x: Value = call["self"]
    written = call.get("src")
    return meet_beside(call, call["dim"] % x.ndim, [x, call["index"], *([written] if written is not None else [])])


def _masked_scatter(call: Call) -> Labels:
    """Whole rows are written under a mask that does not vary along the last dimension, one after another."""
    x, mask, source = call["self"], call["mask"], call["source"]
    if mask.labels.shape[-1] > 1 and mask.tensor.stride(-1) != 0:
        raise NotImplementedError("a mask that may vary along the last dimension")
    if source.labels.shape[-1] != x.labels.shape[-1]:
        raise NotImplementedError("rows of another length")
    span = Span((), frozenset())
    for value in (x, mask, source):
        last = value.ndim - 1
        row = span_of(value.labels, {dim: dim - last for dim in range(value.ndim)})
        span = call.atoms.meet(span, Span(call.atoms.stiffen(row.layers, frozenset(range(-last, 0))), row.real & {0}))
    return settle(span, {0: x.ndim - 1}, tuple(call.result.shape))


def _chosen(indices: list[Value | None]) -> tuple[list[int], int]:
    """The dimensions that the indices choose places in, and how many dimensions these places have."""
    chosen: list[int] = []
    dim = places = 0
    for index in indices:
        width = 1
        if index is not None:
            if chosen and chosen[-1] != dim - 1:
                raise NotImplementedError("indices of dimensions that are apart")
            mask = index.tensor.dtype in (torch.bool, torch.uint8)
            width = index.ndim if mask else 1
            chosen.extend(range(dim, dim + width))
            places = max(places, 1 if mask else index.ndim)
        dim += width
    return chosen, places


RULES: dict[str, Rule] = {
    "copy": POINTWISE,
    "index_put": Rule(_index_put),
    "slice_scatter": Rule(_slice_scatter, _renumber_range),
    "select_scatter": Rule(_select_scatter),
    **named("scatter scatter_add scatter_reduce", Rule(_scatter)),
    "masked_scatter": Rule(_masked_scatter),
}
