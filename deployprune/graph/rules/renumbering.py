"""How places named in the calls of movement operations follow what stays."""

from __future__ import annotations

import torch
from torch import fx

from deployprune.graph.rules.base import Rewrite

__all__ = ["renumber_indices", "renumber_repeats", "renumber_select", "renumber_slice"]

aten = torch.ops.aten


def renumber_slice(call: Rewrite) -> None:
    """A range of channels becomes the range, or the list, of those that stay."""
    source = call.arguments["self"]
    shape = call.shapes(source)
    dim = call.arguments.get("dim", 0) % len(shape)
    keep = call.keeps(source)[dim]
    if keep is None:
        return
    start, end, step = call.arguments.get("start"), call.arguments.get("end"), call.arguments.get("step", 1)
    if "length" in call.arguments:
        start %= shape[dim]
        end = start + call.arguments["length"]
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


def renumber_repeats(call: Rewrite) -> None:
    """Where a constant tensor says how many copies of each element there are, it loses what they lose."""
    source, repeats = call.arguments["self"], call.arguments["repeats"]
    dim = call.arguments["dim"] % len(call.shapes(source))
    keep = call.keeps(source)[dim]
    if keep is None:
        return
    if isinstance(repeats, fx.Node):
        counts = call.constant(repeats)
        call.set("repeats", call.add_constant(counts if len(counts) == 1 else counts[keep]))
    if isinstance(call.arguments.get("output_size"), int):
        call.set("output_size", call.sizes()[dim])


def _ranks(keep: torch.Tensor, positions: torch.Tensor, size: int) -> torch.Tensor:
    """Where the dense ``positions`` are among those kept."""
    rank = torch.full((size,), -1, dtype=torch.int64)
    rank[keep] = torch.arange(len(keep))
    return rank[positions]
