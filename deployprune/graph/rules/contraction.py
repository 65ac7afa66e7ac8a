"""Convolution, linear layers and products: what is summed over unites, what stays free is passed on.

Each is written as an element-wise product over named dimensions, followed by a sum over some of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from deployprune.graph.labels import Ids, Kinds, Labels, Layer, Span
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value, named, place, settle, span_of
from deployprune.graph.rules.masking import zeroed
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES", "contract", "convolve", "product", "subscripts"]


def contract(call: Call, left: Labels, right: Labels, names: tuple[str, str, str], shape: Sequence[int]) -> Labels:
    """Labels of ``einsum(left, right -> out)``; ``names`` are the letters of the three, the ellipsis spelled out."""
    letters = {letter: index for index, letter in enumerate(dict.fromkeys("".join(names)))}
    a = span_of(left, {dim: letters[letter] for dim, letter in enumerate(names[0])})
    b = span_of(right, {dim: letters[letter] for dim, letter in enumerate(names[1])})
    summed = frozenset(letters.values()) - {letters[letter] for letter in names[2]}
    total = call.atoms.total(call.atoms.meet(a, b), summed)
    return settle(total, {letters[letter]: dim for dim, letter in enumerate(names[2])}, shape)


def _letters(count: int, skip: str = "") -> str:
    return "".join(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in skip)[:count]


def _linear(call: Call) -> Labels:
    x, weight = call.get("input", call.get("self")), call["weight"]
    batch = _letters(x.ndim - 1, "IO")
    labels = contract(call, x.labels, weight.labels, (batch + "I", "OI", batch + "O"), call.result.shape)
    return _add_bias(call, labels, len(labels.shape) - 1)


def _add_bias(call: Call, labels: Labels, dim: int) -> Labels:
    bias = call.get("bias")
    if bias is None:
        return labels
    same = {d: d for d in range(len(labels.shape))}
    return settle(call.atoms.meet(span_of(labels, same), span_of(bias.labels, {0: dim})), same, labels.shape)


def product(call: Call, left: Labels, right: Labels, shape: Sequence[int]) -> Labels:
    """Labels of a matrix product with broadcast batch dimensions (``torch.matmul``)."""
    a_vector, b_vector = len(left.shape) == 1, len(right.shape) == 1
    a_batch, b_batch = max(len(left.shape) - 2, 0), max(len(right.shape) - 2, 0)
    batch = _letters(max(a_batch, b_batch), "MNK")
    a_names = batch[len(batch) - a_batch :] + ("K" if a_vector else "MK")
    b_names = batch[len(batch) - b_batch :] + ("K" if b_vector else "KN")
    out = batch + ("" if a_vector else "M") + ("" if b_vector else "N")
    return contract(call, left, right, (a_names, b_names, out), shape)


def _matmul(call: Call) -> Labels:
    left = call["self"]
    right = next(call[name] for name in ("other", "mat2", "vec", "tensor") if name in call.arguments)
    return product(call, left.labels, right.labels, call.result.shape)


def _add_product(call: Call) -> Labels:
    """addmm and baddbmm: ``self + mat1 @ mat2``."""
    names = ("batch1", "batch2") if "batch1" in call.arguments else ("mat1", "mat2")
    shape = tuple(call.result.shape)
    labels = product(call, call[names[0]].labels, call[names[1]].labels, shape)
    added = Value(labels, call.result, False)
    return meet_all(call, [call["self"], added], shape)


def _bilinear(call: Call) -> Labels:
    left, right = call["input1"], call["input2"]
    batch = _letters(left.ndim - 1, "IJO")
    half = contract(
        call, left.labels, call["weight"].labels, (batch + "I", "OIJ", batch + "OJ"),
        (*call.result.shape, right.labels.shape[-1]),
    )  # fmt: skip
    labels = contract(call, half, right.labels, (batch + "OJ", batch + "J", batch + "O"), call.result.shape)
    return _add_bias(call, labels, len(labels.shape) - 1)


def _einsum(call: Call) -> Labels:
    tensors: list[Value] = call["tensors"]
    names, output = subscripts(call["equation"], [value.ndim for value in tensors])
    if any(len(set(name)) < len(name) for name in names):
        raise NotImplementedError("a diagonal")
    labels, current = tensors[0].labels, names[0]
    for index, (value, name) in enumerate(zip(tensors[1:], names[1:], strict=True), start=2):
        rest = set(output).union(*names[index:])
        kept = "".join(c for c in dict.fromkeys(current + name) if c in rest)
        sizes = _sizes((current, labels.shape), (name, value.labels.shape))
        labels = contract(call, labels, value.labels, (current, name, kept), [sizes[c] for c in kept])
        current = kept
    letters = {c: i for i, c in enumerate(current)}
    span = span_of(labels, {i: i for i in range(len(current))})
    summed = frozenset(letters[c] for c in current if c not in output)
    total = call.atoms.total(span, summed)
    return settle(total, {letters[c]: i for i, c in enumerate(output)}, call.result.shape)


def subscripts(equation: str, ndims: Sequence[int]) -> tuple[list[str], str]:
    """The letters of an equation's operands and of its result, the dimensions of an ellipsis named by digits."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    names = inputs.split(",")
    batch = [ndim - len(name.replace("...", "")) for name, ndim in zip(names, ndims, strict=True)]
    spelled = [name.replace("...", _ellipsis(count)) for name, count in zip(names, batch, strict=True)]
    if not arrow:
        letters = inputs.replace(".", "").replace(",", "")
        output = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    return spelled, output.replace("...", _ellipsis(max(batch)))


def _ellipsis(count: int) -> str:
    """Batch dimensions broadcast from the right, so the last one is always 0."""
    return "".join(str(index) for index in reversed(range(count)))


def _sizes(*operands: tuple[str, Sequence[int]]) -> dict[str, int]:
    """The size of every letter; those of length 1 broadcast."""
    sizes: dict[str, int] = {}
    for name, shape in operands:
        for letter, size in zip(name, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return sizes


# ---------------------------------------------------------------------------------------------------- convolution

_GROUP, _OUT, _IN = 1, 2, 3
_KINDS: Kinds = MappingProxyType({(_GROUP,): "group", (_OUT,): "channel", (_IN,): "channel"})


def convolve(call: Call, x: Labels, weight: Labels, groups: int, shape: Sequence[int], *, transposed: bool) -> Labels:
    """A convolution as a product over (batch, group, out, in), summed over ``in``; space is never pruned."""
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
    labels = convolve(call, x, weight, groups, call.result.shape, transposed=bool(call.get("transposed", False)))
    return _add_bias(call, labels, 1)


def _conv_transpose(call: Call) -> Labels:
    x, weight, groups = call["input"].labels, call["weight"].labels, call["groups"]
    return _add_bias(call, convolve(call, x, weight, groups, call.result.shape, transposed=True), 1)


def _conv_groups(call: Rewrite) -> None:
    """Whole groups may go: count those of which an input channel is left."""
    groups = call.arguments["groups"]
    keep = call.keeps(call.arguments["input"])[1]
    if groups > 1 and keep is not None:
        per_group = call.shapes(call.arguments["input"])[1] // groups
        call.set("groups", len((keep // per_group).unique()))


def _embedding(call: Call) -> Labels:
    weight = call["weight"].labels
    layers = call.atoms.stiffen(weight.layers, frozenset({0}))
    return Labels(tuple(call.result.shape), place(layers, {1: len(call.result.shape) - 1}))


_CONV = Rule(_conv, _conv_groups, zeroed)
_CONV_TRANSPOSE = Rule(_conv_transpose, _conv_groups, zeroed)
_PRODUCT = Rule(_matmul, None, zeroed)

RULES: dict[str, Rule] = {
    "linear": Rule(_linear, None, zeroed),
    "bilinear": Rule(_bilinear, None, zeroed),
    **named(
        "matmul mm bmm mv dot linalg_vecdot",
        _PRODUCT,
    ),
    **named(
        "addmm baddbmm",
        Rule(_add_product, None, zeroed),
    ),
    "einsum": Rule(_einsum, None, zeroed),
    **named(
        "conv1d conv2d conv3d convolution",
        _CONV,
    ),
    **named(
        "conv_transpose1d conv_transpose2d conv_transpose3d",
        _CONV_TRANSPOSE,
    ),
    "embedding": Rule(_embedding),
}
