"""How sizes and amounts in the calls of movement operations follow the widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from deployprune.graph.rules.base import Rewrite

__all__ = [
    "copy_shape",
    "count_shuffle_groups",
    "drop_empty",
    "infer_shape",
    "resize",
    "resize_pad",
    "resize_repeats",
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


def resize_repeats(call: Rewrite) -> None:
    """Of one slice as many copies as stay; of more than one as many as there were."""
    given, shape = list(call.arguments["repeats"]), call.shapes(call.arguments["self"])
    whole = (1,) * (len(given) - len(shape)) + tuple(shape)
    sizes = call.sizes()
    call.set(
        "repeats",
        [
            new if old == 1 and isinstance(count, int) else count
            for count, old, new in zip(given, whole, sizes, strict=True)
        ],
    )


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
    shape, keeps = call.result_shapes[0], call.results[0]
    shifts, dims = list(call.arguments["shifts"]), call.arguments["dims"]
    if not dims:  # all elements in one line
        shifts = [_came_round(_mask(shape, keeps).flatten(), shifts[0])]
    for index, dim in enumerate(dims):
        keep = keeps[dim]
        if keep is not None:
            shifts[index] = _came_round(_mask([shape[dim]], [keep]), shifts[index])
    call.set("shifts", shifts)


def _came_round(stays: torch.Tensor, shift: int) -> int:
    """How many elements come round at the start, or less than none at the end, of those that stay."""
    shift = int(math.fmod(shift, len(stays)))
    return int(stays[:shift].sum()) if shift >= 0 else -int(stays[shift:].sum())


def _mask(shape: Sequence[int], keeps: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Whether each element of a tensor stays."""
    stays = torch.ones(tuple(shape), dtype=torch.bool)
    for dim, keep in enumerate(keeps):
        if keep is not None:
            along = torch.zeros(shape[dim], dtype=torch.bool).index_fill(0, keep, True)
            stays &= along.reshape([-1 if d == dim else 1 for d in range(len(shape))])
    return stays


def count_shuffle_groups(call: Rewrite) -> None:
    keep = call.keeps(call.arguments["self"])[1]
    if keep is not None:
        per_group = call.shapes(call.arguments["self"])[1] // call.arguments["groups"]
        call.set("groups", len(torch.unique(keep // per_group)))
