"""Tensors made inside the forward: those of one value take any width, all others none."""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from deployprune.graph.labels import Ids, Labels
from deployprune.graph.rules.base import Call, Rewrite, Rule, named

__all__ = ["RULES"]


def _uniform(call: Call) -> Labels:
    """Every written-out size gets atoms; a symbolic one is a batch or a length and stays."""
    shape = tuple(call.result.shape)
    parts: list[tuple[Sequence[int], Ids]] = [
        ((dim,), call.atoms.fresh(size))
        for dim, (size, given) in enumerate(zip(shape, call.literal["size"], strict=True))
        if size > 1 and isinstance(given, int)
    ]
    return Labels(shape, call.atoms.layers(parts))


def _fixed(call: Call) -> Labels:
    return Labels(tuple(call.result.shape))


def _sizes(call: Rewrite) -> None:
    given = call.arguments["size"]
    call.set("size", [g if isinstance(g, fx.Node) else size for g, size in zip(given, call.sizes(), strict=True)])


_UNIFORM = Rule(_uniform, _sizes)
_FIXED = Rule(_fixed)

RULES: dict[str, Rule] = {
    **named(
        "zeros ones full empty new_zeros new_ones new_full new_empty",
        _UNIFORM,
    ),
    **named(
        "arange linspace eye scalar_tensor tril_indices triu_indices",
        _FIXED,
    ),
}
