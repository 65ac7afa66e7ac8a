"""Batch, layer, group and RMS normalisation: affine parameters meet the channels they scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from deployprune.graph.labels import Labels, Span
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value, place, settle, span_of
from deployprune.graph.rules.masking import MaskedCall, Operand, over, plain

__all__ = ["RULES"]

_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def _affine(call: Call, x: Value, names: tuple[str, ...], first: int) -> Labels:
    """``x`` met by the vectors of these names, the first of their dimensions being ``x``'s dimension ``first``."""
    same = {dim: dim for dim in range(x.ndim)}
    span = span_of(x.labels, same)
    for name in names:
        vector: Value | None = call.get(name)
        if vector is not None:
            span = call.atoms.meet(span, span_of(vector.labels, {d: first + d for d in range(vector.ndim)}))
    return settle(span, same, x.labels.shape)


def _batch_norm(call: Call) -> Labels:
    x: Value = call["input"]
    if call["running_mean"] is None or call["training"] is True:
        call.atoms.mark_statistics(layer for layer in x.labels.layers if layer.dims != (1,))
    return _affine(call, x, _PER_CHANNEL, 1)


def _masked_batch_norm(call: MaskedCall) -> Any:
    """Statistics of the call's own input, as weight standardisation takes them, are over what is kept."""
    if call["running_mean"] is not None and not call["training"]:
        return plain(call)
    return over("input", lambda _, x: {0, *range(2, x.tensor.ndim)})(call)


def _instance_norm(call: Call) -> Labels:
    x: Value = call["input"]
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(2, x.ndim)))
    return _affine(call, Value(Labels(x.labels.shape, layers), x.tensor, x.constant), _PER_CHANNEL, 1)


def _layer_norm(call: Call) -> Labels:
    x: Value = call["input"]
    first = x.ndim - len(call["normalized_shape"])
    call.atoms.mark_statistics(layer for layer in x.labels.layers if max(layer.dims) >= first)
    return _affine(call, x, ("weight", "bias"), first)


def _group_norm(call: Call) -> Labels:
    """Groups must stay equally long: the channels are seen as (group, member)."""
    x: Value = call["input"]
    groups = call.get("num_groups", call.get("group"))
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {1})
    shape = (groups, x.labels.shape[1] // groups)
    if shape[1] > 1:
        call.atoms.mark_statistics(layers)
    # Reading the grouped view registers it, which is what makes its mask an outer product.
    call.atoms.layers(((0, 1), layer.ids.reshape(shape)) for layer in layers)
    stiff = Value(Labels(x.labels.shape, layers), x.tensor, x.constant)
    return _affine(call, stiff, ("weight", "bias"), 1)


def _native(labels: Callable[[Call], Labels]) -> Callable[[Call], list[Labels]]:
    """torch's inner forms give the statistics as well, which nothing of what is pruned here may need."""

    def run(call: Call) -> list[Labels]:
        return [labels(call), *(Labels(tuple(result.shape)) for result in call.result[1:])]

    return run


def _masked_native(masking: Callable[[MaskedCall], torch.Tensor]) -> Callable[[MaskedCall], Any]:
    def run(call: MaskedCall) -> Any:
        return (masking(call), *plain(call)[1:])

    return run


def _normalize(call: Call) -> Labels:
    """``_weight_norm(v, g, dim)``: a weight is its direction times its length along ``dim``."""
    v, g = call["v"], call["g"]
    same = {dim: dim for dim in range(v.ndim)}
    dim = call["dim"] % v.ndim
    call.atoms.mark_statistics(layer for layer in v.labels.layers if dim not in layer.dims)
    left = span_of(v.labels, same)
    right = Span(
        place(g.labels.layers, {d: d for d in range(g.ndim)}), span_of(g.labels, {d: d for d in range(g.ndim)}).real
    )
    return settle(call.atoms.meet(left, right), same, v.labels.shape)


def _masked_layer_norm(call: MaskedCall) -> torch.Tensor:
    """The statistics of what stays, the affine parameters whole."""
    x: Operand = call["input"]
    dims = range(x.tensor.ndim - len(call["normalized_shape"]), x.tensor.ndim)
    part = x.compact(dims)
    over_what = part.shape[dims.start :]
    if "bias" in call.arguments:
        result = torch.nn.functional.layer_norm(part, over_what, eps=call["eps"])
    else:
        result = torch.nn.functional.rms_norm(part, over_what, eps=call["eps"])
    return _scaled(call, x.spread(result, dims), dims.start)


def _masked_group_norm(call: MaskedCall) -> torch.Tensor:
    """One group after another: the statistics of its channels that stay."""
    x: Operand = call["input"]
    channels = x.tensor.shape[1]
    size = channels // call.get("num_groups", call.get("group"))
    keep = torch.arange(channels) if x.keeps[1] is None else x.keeps[1]
    result = torch.zeros_like(x.tensor)
    for group in torch.unique(keep // size).tolist():
        members = keep[keep // size == group]
        result[:, members] = torch.nn.functional.group_norm(x.tensor[:, members], 1, eps=call["eps"])
    return _scaled(call, result, 1)


def _scaled(call: MaskedCall, x: torch.Tensor, first: int) -> torch.Tensor:
    """``x`` times weight plus bias, which run along its dimensions from ``first`` on."""
    for name, combine in (("weight", torch.mul), ("bias", torch.add)):
        vector: Operand | None = call.get(name)
        if vector is not None:
            x = combine(x, vector.tensor.reshape(*vector.tensor.shape, *[1] * (x.ndim - first - vector.tensor.ndim)))
    return x


def _normalized_shape(call: Rewrite) -> None:
    count = len(call.arguments["normalized_shape"])
    call.set("normalized_shape", call.sizes()[-count:])


def _num_groups(call: Rewrite) -> None:
    keep = call.results[0][1]
    if keep is not None:
        name = "num_groups" if "num_groups" in call.arguments else "group"
        members = call.result_shapes[0][1] // call.arguments[name]
        call.set(name, len(torch.unique(keep // members)))
        if "C" in call.arguments:
            call.set("C", len(keep))


RULES: dict[str, Rule] = {
    "batch_norm": Rule(_batch_norm, None, _masked_batch_norm),
    "instance_norm": Rule(_instance_norm),
    "layer_norm": Rule(_layer_norm, _normalized_shape, _masked_layer_norm),
    "rms_norm": Rule(_layer_norm, _normalized_shape, _masked_layer_norm),
    "group_norm": Rule(_group_norm, _num_groups, _masked_group_norm),
    "native_layer_norm": Rule(_native(_layer_norm), _normalized_shape, _masked_native(_masked_layer_norm)),
    "native_group_norm": Rule(_native(_group_norm), _num_groups, _masked_native(_masked_group_norm)),
    "_weight_norm": Rule(
        _normalize, None, over("v", lambda call, v: set(range(v.tensor.ndim)) - {call["dim"] % v.tensor.ndim})
    ),
}
