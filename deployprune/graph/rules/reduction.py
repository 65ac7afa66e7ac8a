"""Reductions, softmax, cumulative and spatial operations.

A sum forgets what is summed away. A mean, a maximum or a softmax over channels means something else when channels go:
it is allowed, its units are marked ``statistics_changing``, and the masked twin computes it over what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployprune.graph.labels import Labels, Layer, Span
from deployprune.graph.rules.base import Call, Rule, Value, named, place, settle, span_of
from deployprune.graph.rules.masking import MaskedCall, Operand, over, zeroed
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES"]


def _dims(call: Call, x: Value) -> frozenset[int]:
    return _reduced(call.get("dim"), x.ndim)


def _masked_dims(call: MaskedCall, x: Operand) -> frozenset[int]:
    return _reduced(call.get("dim"), x.tensor.ndim)


def _reduced(given: int | Sequence[int] | None, ndim: int) -> frozenset[int]:
    if given is None or given == []:
        return frozenset(range(ndim))
    return frozenset(dim % ndim for dim in ([given] if isinstance(given, int) else given))


def _reduce(call: Call, *, statistics: bool) -> Labels | list[Labels]:
    x: Value = call["self"] if "self" in call.arguments else call["x"]
    dims = _dims(call, x)
    if statistics:
        call.atoms.mark_statistics(layer for layer in x.labels.layers if dims & set(layer.dims))
    total = call.atoms.total(span_of(x.labels, {dim: dim for dim in range(x.ndim)}), dims)
    if call.get("keepdim", False):
        mapping = {dim: dim for dim in range(x.ndim)}
    else:
        mapping = {dim: index for index, dim in enumerate(d for d in range(x.ndim) if d not in dims)}
    if isinstance(call.result, tuple | list):
        return [settle(total, mapping, result.shape) for result in call.result]
    return settle(total, mapping, call.result.shape)


def _sum(call: Call) -> Labels | list[Labels]:
    return _reduce(call, statistics=False)


def _statistics(call: Call) -> Labels | list[Labels]:
    return _reduce(call, statistics=True)


def _softmax(call: Call) -> Labels:
    x: Value = call["self"]
    dims = _dims(call, x)
    call.atoms.mark_statistics(layer for layer in x.labels.layers if dims & set(layer.dims))
    return x.labels


def _along(call: Call) -> Labels | list[Labels]:
    """Results that depend on positions along ``dim``: nothing may go along it."""
    x: Value = call["self"]
    layers = call.atoms.stiffen(x.labels.layers, _dims(call, x))
    return _spread(call, layers)


def _choose(call: Call) -> Labels | list[Labels]:
    """Results that name places along ``dim`` (argmax, topk): nothing may go along it."""
    x: Value = call["self"]
    if "other" in call.arguments:
        return meet_all(call, call.operands, tuple(call.result.shape))
    dims = (
        frozenset({call.get("dim", -1) % x.ndim}) if isinstance(call.get("dim", -1), int) else frozenset(range(x.ndim))
    )
    layers = call.atoms.stiffen(x.labels.layers, dims)
    first = call.result[0] if isinstance(call.result, tuple | list) else call.result
    if first.ndim < x.ndim:
        left = [d for d in range(x.ndim) if d not in dims]
        layers = place(layers, {d: index for index, d in enumerate(left)})
    return _spread(call, layers)


def _spread(call: Call, layers: tuple[Layer, ...]) -> Labels | list[Labels]:
    if not isinstance(call.result, tuple | list):
        return Labels(tuple(call.result.shape), layers)
    return [Labels(tuple(result.shape), layers) for result in call.result]


def _spatial(count: int) -> Rule:
    """Pooling and resizing over the last ``count`` dimensions."""

    def labels(call: Call) -> Labels | list[Labels]:
        x: Value = call["self"] if "self" in call.arguments else call["input"]
        return _spread(call, call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim - count, x.ndim))))

    return Rule(labels)


def _unpool(count: int) -> Rule:
    """Maxima put back where pooling found them: their places are channel by channel those of the maxima."""

    def labels(call: Call) -> Labels:
        x, places = call["self"], call["indices"]
        space = frozenset(range(x.ndim - count, x.ndim))
        still = [
            Value(Labels(value.labels.shape, call.atoms.stiffen(value.labels.layers, space)), value.tensor, False)
            for value in (x, places)
        ]
        return Labels(tuple(call.result.shape), meet_all(call, still, x.labels.shape).layers)

    return Rule(labels)


def _sample(call: Call) -> Labels:
    """``(batch, channel, *space)`` is read where ``(batch, *place, coordinate)`` says, all channels alike."""
    x, grid = call["input"], call["grid"]
    batch, channel, *space = range(x.ndim)
    layers = call.atoms.stiffen(x.labels.layers, frozenset(space))
    places = call.atoms.stiffen(grid.labels.layers, frozenset({grid.ndim - 1}))
    mapping = {0: batch, **{dim: dim + 1 for dim in range(1, grid.ndim - 1)}}
    real = span_of(x.labels, {dim: dim for dim in range(x.ndim)}).real & {batch, channel}
    at = frozenset(mapping[dim] for dim in mapping if grid.labels.shape[dim] > 1)
    met = call.atoms.meet(Span(layers, real), Span(place(places, mapping), at))
    return settle(met, {dim: dim for dim in range(x.ndim)}, tuple(call.result.shape))


_STATISTICS = Rule(_statistics, None, over("self", _masked_dims, reduces=True))
_ALONG = Rule(_along)

RULES: dict[str, Rule] = {
    "sum": Rule(_sum, None, zeroed),
    **named(
        "mean var std var_mean std_mean aminmax amax amin logsumexp linalg_vector_norm norm prod any all",
        _STATISTICS,
    ),
    **named(
        "softmax _softmax log_softmax _log_softmax softmin",
        Rule(_softmax, None, over("self", _masked_dims)),
    ),
    **named(
        "cumsum cumprod logcumsumexp cummax cummin",
        _ALONG,
    ),
    **{
        f"{name}{count}d": _spatial(count)
        for count in (1, 2, 3)
        for name in [
            "max_pool",
            "avg_pool",
            "adaptive_avg_pool",
            "adaptive_max_pool",
            "reflection_pad",
            "replication_pad",
            "upsample_nearest",
            "_upsample_nearest_exact",
            "fractional_max_pool",
        ]
    },
    **named(
        "max_pool2d_with_indices upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
        _spatial(2),
    ),
    **named("max min sort argsort topk argmax argmin median kthvalue", Rule(_choose)),
    **named("grid_sampler grid_sampler_2d grid_sampler_3d", Rule(_sample)),
    "max_pool3d_with_indices": _spatial(3),
    "max_unpool2d": _unpool(2),
    "max_unpool3d": _unpool(3),
    "upsample_linear1d": _spatial(1),
    "upsample_trilinear3d": _spatial(3),
}
