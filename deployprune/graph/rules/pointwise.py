"""Element-wise operations: labels of operands that meet in an element unite."""

from __future__ import annotations

from deployprune.graph.labels import Labels, Span
from deployprune.graph.rules.base import Call, Rule, Value, named, settle, span_of

__all__ = ["POINTWISE", "RULES", "meet_all"]


def meet_all(call: Call, operands: list[Value], shape: tuple[int, ...]) -> Labels:
    """Labels of an element-wise result, operands broadcast against each other from the right."""
    total = Span((), frozenset())
    for operand in operands:
        offset = len(shape) - operand.ndim
        total = call.atoms.meet(total, span_of(operand.labels, {d: d + offset for d in range(operand.ndim)}))
    return settle(total, {dim: dim for dim in range(len(shape))}, shape)


def _pointwise(call: Call) -> Labels:
    return meet_all(call, call.operands, tuple(call.result.shape))


def _like_input(call: Call) -> Labels:
    return Labels(tuple(call.result.shape), call["self"].labels.layers)


POINTWISE = Rule(_pointwise)
_LIKE = Rule(_like_input)

RULES: dict[str, Rule] = {
    **named(
        "_to_copy add alias alpha_dropout celu clamp clone contiguous detach div dropout dropout2d elu "
        "feature_dropout float_power gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu "
        "lift_fresh_copy log_sigmoid logical_not masked_fill mish mul multiply native_dropout pow "
        "prelu_kernel relu relu6 rrelu rsub selu silu softplus softsign square sub tanhshrink threshold to "
        "where real imag angle complex polar conj _conj resolve_conj resolve_neg lift_fresh",
        POINTWISE,
    ),
    **named(
        "zeros_like ones_like full_like rand_like randn_like empty_like type_as",
        _LIKE,
    ),
}


def _prelu(call: Call) -> Labels:
    x, weight = call["self"], call["weight"]
    shape = tuple(call.result.shape)
    span = span_of(x.labels, {dim: dim for dim in range(x.ndim)})
    span = call.atoms.meet(span, span_of(weight.labels, {0: 1}))
    return settle(span, {dim: dim for dim in range(len(shape))}, shape)


def _glu(call: Call) -> Labels:
    """One half gates the other: both halves meet."""
    x: Value = call["self"]
    dim = call["dim"] % x.ndim
    half = x.labels.shape[dim] // 2
    shape = tuple(call.result.shape)
    parts = [
        call.atoms.move(x.labels, lambda tensor, start=start: tensor.narrow(dim, start, half), shape)  # type: ignore[misc]
        for start in (0, half)
    ]
    return meet_all(call, [Value(part, call.result, False) for part in parts], shape)


RULES["prelu"] = Rule(_prelu)
RULES["glu"] = Rule(_glu)
