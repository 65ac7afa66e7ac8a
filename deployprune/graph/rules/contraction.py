"""Linear layers and products: what is summed over unites, what stays free is passed on.

Each is written as an element-wise product over named dimensions, followed by a sum over some of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from deployprune.graph.labels import Labels
from deployprune.graph.rules.base import Call, Rule, Value, named, place, settle, span_of
from deployprune.graph.rules.masking import zeroed
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES", "add_bias", "contract", "product"]


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
    return add_bias(call, labels, len(labels.shape) - 1)


def add_bias(call: Call, labels: Labels, dim: int) -> Labels:
    """The labels of a result once the call's bias, where it has one, is added along ``dim``."""
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
    return add_bias(call, labels, len(labels.shape) - 1)


def _distances(call: Call) -> Labels:
    """A distance adds up over what both vectors have."""
    left, right = call["x1"].labels, call["x2"].labels
    swap = {len(right.shape) - 2: len(right.shape) - 1, len(right.shape) - 1: len(right.shape) - 2}
    turned = {dim: swap.get(dim, dim) for dim in range(len(right.shape))}
    shape = (*right.shape[:-2], right.shape[-1], right.shape[-2])
    return product(call, left, Labels(shape, place(right.layers, turned)), call.result.shape)


RULES: dict[str, Rule] = {
    "linear": Rule(_linear, None, zeroed),
    "bilinear": Rule(_bilinear, None, zeroed),
    **named("matmul mm bmm mv dot linalg_vecdot", Rule(_matmul, None, zeroed)),
    **named("addmm baddbmm", Rule(_add_product, None, zeroed)),
    **named("cdist _cdist_forward", Rule(_distances, None, zeroed)),
}
