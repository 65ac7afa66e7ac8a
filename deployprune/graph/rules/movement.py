"""Movement operations: they run literally on the label tensors, and their sizes and indices follow the widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from deployprune.graph.labels import KEEP, Ids, Labels, Layer, Span
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value, place, span_of

__all__ = ["RULES"]

aten = torch.ops.aten


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


def _cat(call: Call) -> Labels:
    tensors: list[Value] = [value for value in call["tensors"] if value.tensor.numel() > 0]
    shape = tuple(call.result.shape)
    return _concatenate(call, [value.labels for value in tensors], call.get("dim", 0) % len(shape), shape)


def _stack(call: Call) -> Labels:
    shape = tuple(call.result.shape)
    dim = call.get("dim", 0) % len(shape)
    mapping = {old: old + (old >= dim) for old in range(len(shape) - 1)}
    parts = [
        Labels((*v.labels.shape[:dim], 1, *v.labels.shape[dim:]), place(v.labels.layers, mapping))
        for v in call["tensors"]
    ]
    return _concatenate(call, parts, dim, shape)


def _concatenate(call: Call, parts: Sequence[Labels], dim: int, shape: tuple[int, ...]) -> Labels:
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


def _unfold(call: Call) -> Labels:
    """im2col: every channel becomes a block of kernel positions."""
    x: Value = call["self"]
    block = int(np.prod(call["kernel_size"]))
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {x.ndim - 3})
    parts = [((x.ndim - 3,), np.repeat(layer.ids, block)) for layer in layers]
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


# ------------------------------------------------------------------------------------------------------- rewriting


def _resize(name: str, *, symbol: int = -1) -> Any:
    """Write the pruned sizes into a size argument; a symbolic size that changes is left for torch to infer."""

    def rewrite(call: Rewrite) -> None:
        given, dense, sizes = list(call.arguments[name]), call.result_shapes[0], call.sizes()
        offset = len(sizes) - len(given)
        for index, size in enumerate(given):
            if isinstance(size, fx.Node):
                given[index] = symbol if dense[index + offset] != sizes[index + offset] else size
            elif size != -1:
                given[index] = sizes[index + offset]
        call.set(name, given)

    return rewrite


def _reshape(call: Rewrite) -> None:
    _resize("size" if "size" in call.arguments else "shape")(call)
    # Slicing changes strides, so what was a view may have to copy.
    call.node.target = aten.reshape.default
    call.node.args = (call.arguments["self"], call.node.args[1])
    call.node.kwargs = {}


def _unflatten(call: Rewrite) -> None:
    shape = call.shapes(call.arguments["self"])
    dim = call.arguments["dim"] % len(shape)
    count = len(call.arguments["sizes"])
    given = [
        size if isinstance(size, fx.Node) or size == -1 else new
        for size, new in zip(call.arguments["sizes"], call.sizes()[dim : dim + count], strict=True)
    ]
    call.set("sizes", given)


def _split(call: Rewrite) -> None:
    dim = call.arguments["dim"] % len(call.result_shapes[0])
    sizes = [call.sizes(index)[dim] for index in range(len(call.result_shapes))]
    call.node.target = aten.split_with_sizes.default
    call.node.args = (call.arguments["self"], sizes, dim)
    call.node.kwargs = {}


def _slice(call: Rewrite) -> None:
    """A range of channels becomes the range, or the list, of those that stay."""
    source = call.arguments["self"]
    shape = call.shapes(source)
    dim = call.arguments.get("dim", 0) % len(shape)
    keep = call.keeps(source)[dim]
    if keep is None:
        return
    positions = torch.arange(shape[dim])[
        slice(call.arguments.get("start"), call.arguments.get("end"), call.arguments.get("step", 1))
    ]
    kept = call.results[0][dim]
    chosen = _ranks(keep, positions if kept is None else positions[kept], shape[dim])
    start, count = int(chosen[0]), len(chosen)
    if torch.equal(chosen, torch.arange(start, start + count)):
        call.node.target = aten.slice.Tensor
        call.node.args = (source, dim, start, start + count)
    else:
        call.node.target = aten.index_select.default
        call.node.args = (source, dim, call.add_constant(chosen))
    call.node.kwargs = {}


def _select(call: Rewrite) -> None:
    source = call.arguments["self"]
    shape = call.shapes(source)
    dim = call.arguments["dim"] % len(shape)
    keep = call.keeps(source)[dim]
    if keep is not None:
        index = torch.tensor([call.arguments["index"] % shape[dim]])
        call.set("index", int(_ranks(keep, index, shape[dim])))


def _ranks(keep: torch.Tensor, positions: torch.Tensor, size: int) -> torch.Tensor:
    """Where the dense ``positions`` are among those kept."""
    rank = torch.full((size,), -1, dtype=torch.int64)
    rank[keep] = torch.arange(len(keep))
    return rank[positions]


def _pad_amounts(call: Rewrite) -> None:
    shape, amounts = call.result_shapes[0], list(call.arguments["pad"])
    for index in range(len(amounts) // 2):
        dim = len(shape) - 1 - index
        keep = call.results[0][dim]
        if keep is not None and (amounts[2 * index] or amounts[2 * index + 1]):
            end = shape[dim] - amounts[2 * index + 1]
            amounts[2 * index + 1] = int((keep >= end).sum())
            amounts[2 * index] = int((keep < amounts[2 * index]).sum())
    call.set("pad", amounts)


def _roll(call: Rewrite) -> None:
    """After a roll by ``s`` the first ``s`` places hold what came round: count those that stay."""
    shape = call.result_shapes[0]
    shifts = list(call.arguments["shifts"])
    for index, dim in enumerate(call.arguments["dims"]):
        keep = call.results[0][dim]
        if keep is not None:
            shifts[index] = int((keep < shifts[index] % shape[dim]).sum())
    call.set("shifts", shifts)


def _index_tensors(call: Rewrite) -> None:
    """Constant indices into pruned dimensions point to the new places of what stays."""
    source = call.arguments["self"]
    single = "indices" not in call.arguments
    given = [call.arguments["index"]] if single else list(call.arguments["indices"])
    first = call.arguments["dim"] % len(call.shapes(source)) if single else 0
    changed = False
    for offset, index in enumerate(given):
        keep = call.keeps(source)[first + offset] if isinstance(index, fx.Node) else None
        if keep is None:
            continue
        value = call.constant(index)
        kept = call.results[0][first + offset]
        value = value if kept is None else value[kept]
        given[offset] = call.add_constant(_ranks(keep, value, call.shapes(source)[first + offset]))
        changed = True
    if changed:
        call.set("index" if single else "indices", given[0] if single else given)


def _channel_shuffle(call: Rewrite) -> None:
    keep = call.keeps(call.arguments["self"])[1]
    if keep is not None:
        per_group = call.shapes(call.arguments["self"])[1] // call.arguments["groups"]
        call.set("groups", len(torch.unique(keep // per_group)))


_PLAIN = Rule(_move)

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "T", "adjoint", "chunk_cat", "diagonal", "expand_as", "flatten", "flip", "mT", "matrix_H", "moveaxis", "movedim",
            "numpy_T", "permute", "pixel_shuffle", "pixel_unshuffle", "repeat", "repeat_interleave", "rot90", "squeeze",
            "swapaxes", "swapdims", "t", "tile", "transpose", "unbind", "unsqueeze",
        ),
        _PLAIN,
    ),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), Rule(_move, _reshape)),
    "expand": Rule(_move, _resize("size")),
    "broadcast_to": Rule(_move, _resize("size")),
    "unflatten": Rule(_move, _unflatten),
    **dict.fromkeys(("split", "chunk", "split_with_sizes", "tensor_split"), Rule(_move, _split)),
    "slice": Rule(_move, _slice),
    "select": Rule(_move, _select),
    "roll": Rule(_move, _roll),
    "channel_shuffle": Rule(_move, _channel_shuffle),
    "index": Rule(_index, _index_tensors),
    "index_select": Rule(_index, _index_tensors),
    "cat": Rule(_cat),
    "concat": Rule(_cat),
    "concatenate": Rule(_cat),
    "stack": Rule(_stack),
    "pad": Rule(_pad, _pad_amounts),
    "constant_pad_nd": Rule(_pad, _pad_amounts),
    "im2col": Rule(_unfold),
}  # fmt: skip
