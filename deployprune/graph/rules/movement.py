"""Movement operations: they run literally on the label tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch

from deployprune.graph.labels import Labels
from deployprune.graph.rules import renumbering, resizing
from deployprune.graph.rules.base import Call, Rule, Value, named
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES", "within"]


def _move(call: Call, name: str = "self") -> Labels | list[Labels]:
    labels: Labels = call[name].labels
    if isinstance(call.result, torch.Tensor):
        return call.atoms.move(labels, lambda tensor: call.run(tensor, name), call.result.shape)
    pieces = [call.run(labels.expanded(layer), name) for layer in labels.layers]
    moved = []
    for index, piece in enumerate(call.result):
        layers = [call.atoms.read(parts[index]) for parts in pieces]
        moved.append(Labels(tuple(piece.shape), tuple(layer for layer in layers if layer is not None)))
    return moved


def _view(call: Call) -> Labels:
    """Labels may be strided where the tensor itself was not: they are reshaped."""
    return call.atoms.move(call["self"].labels, lambda tensor: tensor.reshape(call.result.shape), call.result.shape)


def _copies(counts: str) -> Callable[[Call], Labels]:
    """Copies of one slice of a parameter, an index or a mask can be as many as are wanted."""

    def labels(call: Call) -> Labels:
        moved = cast(Labels, _move(call))
        x, shape = call["self"], tuple(call.result.shape)
        if x.tensor.is_floating_point() and not x.constant:
            return moved
        old = len(shape) - x.ndim
        new = [dim for dim in range(len(shape)) if shape[dim] > 1 and (dim < old or x.labels.shape[dim - old] == 1)]
        parts = [((dim,), call.atoms.fresh(shape[dim])) for dim in new if isinstance(call.literal[counts][dim], int)]
        return Labels(shape, (*moved.layers, *call.atoms.layers(parts)))

    return labels


def _reshape_like(call: Call) -> Labels:
    """The shape is that of another tensor, so its labels count as well."""
    return meet_all(call, [Value(_view(call), call.result, False), call["other"]], tuple(call.result.shape))


def _expand_like(call: Call) -> Labels:
    """As an element-wise operation broadcasts."""
    return meet_all(call, [call["self"], call["other"]], tuple(call.result.shape))


def within(*names: str) -> Callable[[Call], Labels]:
    """Movement along dimensions of which nothing may go: the argument of this name, or the last two."""

    def labels(call: Call) -> Labels:
        x: Value = call["self"]
        dims = [call[name] % x.ndim for name in names] or [x.ndim - 2, x.ndim - 1]
        still = Labels(x.labels.shape, call.atoms.stiffen(x.labels.layers, frozenset(dims)))
        return call.atoms.move(still, call.run, call.result.shape)

    return labels


_PLAIN = Rule(_move)

RULES: dict[str, Rule] = {
    **named(
        "T adjoint atleast_1d atleast_2d atleast_3d chunk_cat diagonal flatten flip mH mT matrix_H moveaxis movedim "
        "numpy_T permute ravel rot90 squeeze swapaxes swapdims t tile transpose unbind unsqueeze",
        _PLAIN,
    ),
    **named("view reshape _unsafe_view", Rule(_view, resizing.infer_shape)),
    **named("reshape_as view_as", Rule(_reshape_like, resizing.copy_shape)),
    "expand": Rule(_copies("size"), resizing.resize("size")),
    "repeat": Rule(_copies("repeats"), resizing.resize_repeats),
    "broadcast_to": Rule(_move, resizing.resize("size")),
    "expand_as": Rule(_expand_like),
    "unflatten": Rule(_move, resizing.resize_unflatten),
    **named(
        "split chunk split_with_sizes tensor_split unsafe_split unsafe_chunk unsafe_split_with_sizes",
        Rule(_move, resizing.resize_split),
    ),
    **named("slice narrow", Rule(_move, renumbering.renumber_slice)),
    "select": Rule(_move, renumbering.renumber_select),
    "roll": Rule(_move, resizing.resize_roll),
}
