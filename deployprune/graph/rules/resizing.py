"""How sizes and indices in the calls of movement operations follow the widths."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from deployprune.graph.rules.base import Rewrite

__all__ = [
    "copy_shape",
    "count_shuffle_groups",
    "drop_empty",
    "infer_shape",
    "renumber_indices",
    "renumber_select",
    "renumber_slice",
    "resize",
    "resize_pad",
    "resize_roll",
    "resize_split",
    "resize_unflatten",
]

aten = torch.ops.aten


def resize(name: str) -> Any:
    """Write the pruned sizes into a size argument; symbolic ones that change (batch times heads) are scaled."""

    def rewrite(call: Rewrite) -> None:
        given, dense, sizes = list(call.arguments[name]), call.result_shapes[0], call.sizes()
        offset = len(sizes) - len(given)
        for index, size in enumerate(given):
            if isinstance(size, fx.Node):
                given[index] = call.scaled(size, dense[index + offset], sizes[index + offset])
            elif size != -1:
                given[index] = sizes[index + offset]
        call.set(name, given)

    return rewrite


def infer_shape(call: Rewrite) -> None:
    resize("size" if "size" in call.arguments else "shape")(call)
    # Slicing changes strides, so what was a view may have to copy.
    call.node.target = aten.reshape.default
    call.node.args = (call.arguments["self"], call.node.args[1])
    call.node.kwargs = {}


def copy_shape(call: Rewrite) -> None:
    """Slicing changes strides, so what was a view may have to copy."""
    if call.node.target is aten.view_as.default:
        call.node.target = aten.reshape_as.default


def drop_empty(call: Rewrite) -> None:
    """Parts without elements, which carry no labels, would have the wrong size elsewhere."""
    call.set("tensors", [part for part in call.arguments["tensors"] if 0 not in call.shapes(part)])


def resize_unflatten(call: Rewrite) -> None:
    shape = call.shapes(call.arguments["self"])
    dim = call.arguments["dim"] % len(shape)
    count = len(call.arguments["sizes"])
    given = [
        size if size == -1 else call.scaled(size, old, new) if isinstance(size, fx.Node) else new
        for size, old, new in zip(
            call.arguments["sizes"],
            call.result_shapes[0][dim : dim + count],
            call.sizes()[dim : dim + count],
            strict=True,
        )
    ]
    call.set("sizes", given)


def resize_split(call: Rewrite) -> None:
    dim = call.arguments["dim"] % len(call.result_shapes[0])
    sizes = [call.sizes(index)[dim] for index in range(len(call.result_shapes))]
    call.node.target = aten.split_with_sizes.default
    call.node.args = (call.arguments["self"], sizes, dim)
    call.node.kwargs = {}


def renumber_slice(call: Rewrite) -> None:
    """A range of channels becomes the range, or the list, of those that stay."""
    source = call.arguments["self"]
    shape = call.shapes(source)
    dim = call.arguments.get("dim", 0) % len(shape)
    keep = call.keeps(source)[dim]
    if keep is None:
        return
    start, end, step = call.arguments.get("start"), call.arguments.get("end"), call.arguments.get("step", 1)
    positions = torch.arange(shape[dim])[slice(start, end, step)]
    if len(positions) == shape[dim] and (end is None or end > shape[dim]):
        return  # all of it, also where the batch is a factor of its size
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


def renumber_select(call: Rewrite) -> None:
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


def resize_pad(call: Rewrite) -> None:
    shape, amounts = call.result_shapes[0], list(call.arguments["pad"])
    for index in range(len(amounts) // 2):
        dim = len(shape) - 1 - index
        keep = call.results[0][dim]
        if keep is not None and (amounts[2 * index] or amounts[2 * index + 1]):
            end = shape[dim] - amounts[2 * index + 1]
            amounts[2 * index + 1] = int((keep >= end).sum())
            amounts[2 * index] = int((keep < amounts[2 * index]).sum())
    call.set("pad", amounts)


def resize_roll(call: Rewrite) -> None:
    """After a roll by ``s`` the first ``s`` places hold what came round: count those that stay."""
    shape = call.result_shapes[0]
    shifts = list(call.arguments["shifts"])
    for index, dim in enumerate(call.arguments["dims"]):
        keep = call.results[0][dim]
        if keep is not None:
            shifts[index] = int((keep < shifts[index] % shape[dim]).sum())
    call.set("shifts", shifts)


def renumber_indices(call: Rewrite) -> None:
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


def count_shuffle_groups(call: Rewrite) -> None:
    keep = call.keeps(call.arguments["self"])[1]
    if keep is not None:
        per_group = call.shapes(call.arguments["self"])[1] // call.arguments["groups"]
        call.set("groups", len(torch.unique(keep // per_group)))
