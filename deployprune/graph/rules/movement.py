"""Movement operations: they run literally on the label tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch

from deployprune.graph.labels import KEEP, Ids, Labels, Layer, Span
from deployprune.graph.rules import resizing
from deployprune.graph.rules.base import Call, Rule, Value, named, place, span_of
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES", "concatenate"]


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


def _expand(call: Call) -> Labels:
    """Copies of one slice of a parameter can be as many as are wanted."""
    moved = _move(call)
    x, shape = call["self"], tuple(call.result.shape)
    if not x.constant or not isinstance(moved, Labels):
        return cast(Labels, moved)
    offset = len(shape) - x.ndim
    new = [dim for dim in range(len(shape)) if shape[dim] > 1 and (dim < offset or x.labels.shape[dim - offset] == 1)]
    parts = [((dim,), call.atoms.fresh(shape[dim])) for dim in new if isinstance(call.literal["size"][dim], int)]
    return Labels(shape, (*moved.layers, *call.atoms.layers(parts)))


def _reshape_like(call: Call) -> Labels:
    """The shape is that of another tensor, so its labels count as well."""
    return meet_all(call, [Value(_view(call), call.result, False), call["other"]], tuple(call.result.shape))


def _expand_like(call: Call) -> Labels:
    """As an element-wise operation broadcasts."""
    return meet_all(call, [call["self"], call["other"]], tuple(call.result.shape))


def _shuffle_channels(call: Call) -> Labels:
    """Groups must stay equally long: reading the channels as (group, member) makes their mask an outer product."""
    x: Value = call["self"]
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {1})
    call.atoms.layers(((0, 1), layer.ids.reshape(call["groups"], -1)) for layer in layers)
    return call.atoms.move(Labels(x.labels.shape, layers), call.run, call.result.shape)


def _shuffle_pixels(call: Call) -> Labels:
    """The channels that become one pixel's neighbours go together."""
    x: Value = call["self"]
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {x.ndim - 3})
    for layer in layers:
        blocks = layer.ids.reshape(-1, call["upscale_factor"] ** 2)
        call.atoms.unite(blocks[:, :1], blocks)
    return call.atoms.move(Labels(x.labels.shape, layers), call.run, call.result.shape)


def _within(*names: str) -> Callable[[Call], Labels]:
    """Movement along dimensions of which nothing may go: the argument of this name, or the last two."""

    def labels(call: Call) -> Labels:
        x: Value = call["self"]
        dims = [call[name] % x.ndim for name in names] or [x.ndim - 2, x.ndim - 1]
        still = Labels(x.labels.shape, call.atoms.stiffen(x.labels.layers, frozenset(dims)))
        return call.atoms.move(still, call.run, call.result.shape)

    return labels


def _repeat_interleave(call: Call) -> Labels | list[Labels]:
    if call["dim"] is None or isinstance(call["repeats"], Value):
        raise NotImplementedError("copies of elements, each its own number of times")
    return _move(call)


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


def _index(call: Call) -> Labels:
    """One constant list of places runs literally; any other index must not reach into labelled dimensions."""
    x: Value = call["self"]
    indices = call["indices"] if "indices" in call.arguments else [None] * (call["dim"] % x.ndim) + [call["index"]]
    given = [index for index in indices if index is not None]
    layers = x.labels.layers
    if len(given) > 1 or not all(_is_list_of_places(index) for index in given):
        layers = call.atoms.stiffen(layers, frozenset(dim for dim, index in enumerate(indices) if index is not None))
    labels = Labels(x.labels.shape, layers)
    return call.atoms.move(labels, call.run, call.result.shape)


def _is_list_of_places(index: Value) -> bool:
    return index.constant and index.ndim == 1 and index.tensor.dtype in (torch.int32, torch.int64)


def _fold(call: Call) -> Labels:
    """col2im: the kernel positions of a channel are added up."""
    x: Value = call["self"]
    block = int(np.prod(call["kernel_size"]))
    axis = x.ndim - 2
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {axis})
    parts: list[tuple[Sequence[int], Ids]] = []
    for layer in layers:
        ids = layer.ids.reshape(-1, block)
        call.atoms.unite(ids[:, :1], ids)
        parts.append(((call.result.ndim - 3,), ids[:, 0]))
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


def _unfold(call: Call) -> Labels:
    """im2col: every channel becomes a block of kernel positions."""
    x: Value = call["self"]
    block = int(np.prod(call["kernel_size"]))
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {x.ndim - 3})
    parts = [((x.ndim - 3,), np.repeat(layer.ids, block)) for layer in layers]
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


_PLAIN = Rule(_move)

RULES: dict[str, Rule] = {
    **named(
        "T adjoint chunk_cat diagonal flatten flip mT matrix_H moveaxis movedim numpy_T permute repeat "
        "rot90 squeeze swapaxes swapdims t tile "
        "transpose unbind unsqueeze",
        _PLAIN,
    ),
    **named(
        "view reshape _unsafe_view",
        Rule(_view, resizing.infer_shape),
    ),
    "expand": Rule(_expand, resizing.resize("size")),
    "broadcast_to": Rule(_move, resizing.resize("size")),
    "expand_as": Rule(_expand_like),
    **named("reshape_as view_as", Rule(_reshape_like, resizing.copy_shape)),
    "pixel_shuffle": Rule(_shuffle_pixels),
    "pixel_unshuffle": Rule(_within()),
    "unfold": Rule(_within("dimension")),
    "repeat_interleave": Rule(_repeat_interleave),
    "unflatten": Rule(_move, resizing.resize_unflatten),
    **named(
        "split chunk split_with_sizes tensor_split unsafe_split unsafe_chunk unsafe_split_with_sizes",
        Rule(_move, resizing.resize_split),
    ),
    "slice": Rule(_move, resizing.renumber_slice),
    "select": Rule(_move, resizing.renumber_select),
    "roll": Rule(_move, resizing.resize_roll),
    "channel_shuffle": Rule(_shuffle_channels, resizing.count_shuffle_groups),
    "index": Rule(_index, resizing.renumber_indices),
    "index_select": Rule(_index, resizing.renumber_indices),
    **named("cat concat concatenate", Rule(_cat, resizing.drop_empty)),
    "stack": Rule(_stack),
    "pad": Rule(_pad, resizing.resize_pad),
    "constant_pad_nd": Rule(_pad, resizing.resize_pad),
    "im2col": Rule(_unfold),
    "col2im": Rule(_fold),
}
