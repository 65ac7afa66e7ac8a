"""Convolution: a product over (batch, group, out, in), summed over ``in``.

Space is not pruned, but where channels lie along it, as efficient channel attention has them (Wang et al. 2020,
ECA-Net), and as much comes out as goes in: neighbours are then those that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
import torch

from deployprune.graph.labels import Ids, Kinds, Labels, Layer, Span
from deployprune.graph.rules.base import Call, Rewrite, Rule, named, place
from deployprune.graph.rules.contraction import add_bias
from deployprune.graph.rules.masking import MaskedCall, Operand, zeroed

__all__ = ["RULES"]

_GROUP, _OUT, _IN = 1, 2, 3
_KINDS: Kinds = MappingProxyType({(_GROUP,): "group", (_OUT,): "channel", (_IN,): "channel"})


def convolve(call: Call, x: Labels, weight: Labels, groups: int, shape: Sequence[int], *, transposed: bool) -> Labels:
    """A convolution as a product over (batch, group, out, in), summed over ``in``; nothing may go along space."""
    atoms = call.atoms
    inner, outer = (x.shape[1] // groups, shape[1] // groups)
    x_layers = atoms.stiffen(x.layers, frozenset(range(len(x.shape))) - {1})
    a = _grouped(call, x_layers, 1, (_GROUP, _IN), (groups, inner))
    layers = atoms.stiffen(weight.layers, frozenset(range(2, len(weight.shape))))
    zero = tuple(layer for layer in layers if layer.dims == (0,))
    one = tuple(layer for layer in layers if layer.dims == (1,))
    for layer in layers:
        if len(layer.dims) > 1:
            atoms.freeze(layer.ids)
    split, plain = ((_GROUP, _IN), _OUT) if transposed else ((_GROUP, _OUT), _IN)
    sizes = (groups, inner) if transposed else (groups, outer)
    b = (*_grouped(call, zero, 0, split, sizes), *place(one, {1: plain}))
    named = {_GROUP: groups, _OUT: outer, _IN: inner}
    real_a = frozenset(dim for dim in (_GROUP, _IN) if named[dim] > 1)
    real_b = frozenset(dim for dim in (_GROUP, _OUT, _IN) if named[dim] > 1)
    met = atoms.meet(Span(a, real_a), Span(b, real_b), _KINDS)
    total = atoms.total(met, frozenset({_IN}), _KINDS)
    flat: list[tuple[Sequence[int], Ids]] = []
    layers = total.layers
    if len(layers) == 2 and not set(layers[0].dims) & set(layers[1].dims):
        layers = (atoms.join(*layers, _KINDS),)  # both lie along the channels that come out
    for layer in layers:
        view = [named[dim] if dim in layer.dims else 1 for dim in (_GROUP, _OUT)]
        flat.append(((1,), np.broadcast_to(layer.ids.reshape(view), (groups, outer)).reshape(-1)))
    return Labels(tuple(shape), atoms.layers(flat))


def _grouped(
    call: Call, layers: Sequence[Layer], dim: int, names: tuple[int, int], sizes: tuple[int, int]
) -> tuple[Layer, ...]:
    return call.atoms.layers((names, layer.ids.reshape(sizes)) for layer in layers if layer.dims == (dim,))


def _conv(call: Call) -> Labels:
    x, weight, groups = call["input"].labels, call["weight"].labels, call["groups"]
    along = _neighbours(call)
    rest = Labels(x.shape, tuple(layer for layer in x.layers if layer not in along))
    labels = convolve(call, rest, weight, groups, call.result.shape, transposed=bool(call.get("transposed", False)))
    call.atoms.mark_statistics(along)
    return add_bias(call, Labels(labels.shape, (*labels.layers, *along)), 1)


def _neighbours(call: Call) -> list[Layer]:
    """Layers that run along the space of a single map, where a step of one gives as many places as there were."""
    x = call["input"].labels
    single = x.shape[1] == 1 and all(step == 1 for step in call["stride"]) and not call.get("transposed", False)
    return [
        layer
        for layer in x.layers
        if single and min(layer.dims) >= 2 and all(x.shape[dim] == call.result.shape[dim] for dim in layer.dims)
    ]


def _masked_conv(call: MaskedCall) -> torch.Tensor:
    """What is removed adds nothing; what is removed along space is not there."""
    x: Operand = call["input"]
    space = [dim for dim in range(2, x.tensor.ndim) if x.keeps[dim] is not None]
    part = Operand(x.zeroed(), x.keeps).compact(space)
    result: torch.Tensor = call.run(Operand.zeroed, input=part)
    return x.spread(result, space)


def _conv_transpose(call: Call) -> Labels:
    x, weight, groups = call["input"].labels, call["weight"].labels, call["groups"]
    return add_bias(call, convolve(call, x, weight, groups, call.result.shape, transposed=True), 1)


def _conv_groups(call: Rewrite) -> None:
    """Whole groups may go: count those of which an input channel is left; one for each example stay as they are."""
    groups = call.arguments["groups"]
    keep = call.keeps(call.arguments["input"])[1]
    if isinstance(groups, int) and groups > 1 and keep is not None:
        per_group = call.shapes(call.arguments["input"])[1] // groups
        call.set("groups", len(torch.unique(keep // per_group)))


RULES: dict[str, Rule] = {
    **named("conv1d conv2d conv3d convolution", Rule(_conv, _conv_groups, _masked_conv)),
    **named("conv_transpose1d conv_transpose2d conv_transpose3d", Rule(_conv_transpose, _conv_groups, zeroed)),
}
