"""Tensors joined to a greater one: concatenation, stacking, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployprune.graph.labels import KEEP, Ids, Labels, Layer, Span
from deployprune.graph.rules import resizing
from deployprune.graph.rules.base import Call, Rule, Value, named, place, span_of

__all__ = ["RULES", "concatenate"]


def _cat(call: Call) -> Labels:
    tensors: list[Value] = [value for value in call["tensors"] if value.tensor.numel() > 0]
    shape = tuple(call.result.shape)
    return concatenate(call, [value.labels for value in tensors], call.get("dim", 0) % len(shape), shape)


def _stack(call: Call) -> Labels:
    shape = tuple(call.result.shape)
    dim = call.get("dim", 0) % len(shape)
    mapping = {old: old + (old >= dim) for old in range(len(shape) - 1)}
    parts = [
        Labels((*v.labels.shape[:dim], 1, *v.labels.shape[dim:]), place(v.labels.layers, mapping))
        for v in call["tensors"]
    ]
    return concatenate(call, parts, dim, shape)


def concatenate(call: Call, parts: Sequence[Labels], dim: int, shape: tuple[int, ...]) -> Labels:
    """Layers across the joined dimension meet; layers along it are joined, unlabelled parts being kept."""
    across = Span((), frozenset())
    for part in parts:
        along_dims = {d for layer in part.layers if dim in layer.dims for d in layer.dims}
        span = span_of(part, {d: d for d in range(len(shape))})
        layers = tuple(layer for layer in span.layers if dim not in layer.dims)
        across = call.atoms.meet(across, Span(layers, span.real - {dim} - along_dims))
    along = [[layer for layer in part.layers if dim in layer.dims] for part in parts]
    joined: list[tuple[Sequence[int], Ids]] = []
    for position in range(max(len(layers) for layers in along)):
        chosen = [layers[position] if position < len(layers) else None for layers in along]
        dims = sorted({d for layer in chosen if layer for d in layer.dims})
        arrays = [_spread(part, layer, dims) for part, layer in zip(parts, chosen, strict=True)]
        joined.append((dims, np.concatenate(arrays, axis=dims.index(dim))))
    return Labels(shape, (*across.layers, *call.atoms.layers(joined)))


def _spread(part: Labels, layer: Layer | None, dims: Sequence[int]) -> Ids:
    sizes = [part.shape[d] for d in dims]
    if layer is None:
        return np.full(sizes, KEEP, dtype=np.int64)
    view = [part.shape[d] if d in layer.dims else 1 for d in dims]
    return np.broadcast_to(layer.ids.reshape(view), sizes)


def _pad(call: Call) -> Labels:
    """Padding makes new elements: along a labelled dimension they get atoms of their own."""
    x: Value = call["self"]
    mode = call.get("mode", "constant")
    amounts = list(call["pad"])
    padded = {x.ndim - 1 - i: (amounts[2 * i], amounts[2 * i + 1]) for i in range(len(amounts) // 2)}
    layers = x.labels.layers
    if mode != "constant" or min(amounts, default=0) < 0:
        layers = call.atoms.stiffen(layers, frozenset(d for d, pair in padded.items() if any(pair)))
    parts: list[tuple[Sequence[int], Ids]] = []
    for layer in layers:
        ids = layer.ids
        for axis, d in enumerate(layer.dims):
            before, after = padded.get(d, (0, 0))
            edge = [list(ids.shape), list(ids.shape)]
            edge[0][axis], edge[1][axis] = before, after
            ids = np.concatenate([call.atoms.fresh(edge[0]), ids, call.atoms.fresh(edge[1])], axis=axis)
        parts.append((layer.dims, ids))
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


RULES: dict[str, Rule] = {
    **named("cat concat concatenate", Rule(_cat, resizing.drop_empty)),
    "stack": Rule(_stack),
    **named("pad constant_pad_nd", Rule(_pad, resizing.resize_pad)),
}
