"""Einsum: operands joined one after another, each time a product over letters."""

from __future__ import annotations

from collections.abc import Sequence

from deployprune.graph.labels import Labels
from deployprune.graph.rules.base import Call, Rule, Value, settle, span_of
from deployprune.graph.rules.contraction import contract
from deployprune.graph.rules.masking import zeroed

__all__ = ["RULES", "subscripts"]


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


RULES: dict[str, Rule] = {"einsum": Rule(_einsum, None, zeroed)}
