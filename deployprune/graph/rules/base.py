"""What a rule is: how one ATen operation passes labels on, and what changes in its call when channels go."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from deployprune.graph.atoms import Atoms
from deployprune.graph.labels import Labels, Layer, Span
from deployprune.graph.rules.masking import Masking, plain

__all__ = ["Call", "Rewrite", "Rule", "Value", "argument_names", "bind", "named", "place", "settle", "span_of"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the dense run and its labels. ``constant`` says that no model input reaches it."""

    labels: Labels
    tensor: torch.Tensor
    constant: bool

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.labels.shape)


@dataclass(frozen=True, slots=True)
class Call:
    """One operation as it ran on the dense model: arguments by their schema names, tensors as :class:`Value`."""

    atoms: Atoms
    op: Any
    arguments: dict[str, Any]
    result: Any
    literal: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The argument, or ``default`` where the schema has none of that name."""
        return self.arguments.get(name, default)

    @property
    def operands(self) -> list[Value]:
        """All tensor arguments, those in lists included."""
        return list(_values(self.arguments.values()))

    def run(self, tensor: torch.Tensor, name: str = "self") -> Any:
        """The operation itself on another first tensor: how movement runs on labels."""
        arguments = {key: _plain(value) for key, value in self.arguments.items()}
        arguments[name] = tensor
        return self.op(**arguments)


def _values(items: Any) -> Iterator[Value]:
    for item in items:
        if isinstance(item, Value):
            yield item
        elif isinstance(item, list | tuple):
            yield from _values(item)


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return value.tensor
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One node of the graph being pruned, with what is kept along every dimension of its operands and result.

    ``kept(node)`` gives per dimension the sorted indices that stay, or None where all do; ``shape(node)`` the dense
    shape. Results of operations with several outputs are asked for by ``result``.
    """

    graph: fx.Graph
    node: fx.Node
    arguments: dict[str, Any]
    keeps: Callable[[fx.Node], Sequence[torch.Tensor | None]]
    shapes: Callable[[fx.Node], tuple[int, ...]]
    results: Sequence[Sequence[torch.Tensor | None]]
    result_shapes: Sequence[tuple[int, ...]]
    add_constant: Callable[[torch.Tensor], fx.Node]
    constant: Callable[[fx.Node], torch.Tensor]

    def set(self, name: str, value: Any) -> None:
        """Replace one argument of the call."""
        names = argument_names(self.node.target)
        position = names.index(name)
        if position < len(self.node.args):
            self.node.update_arg(position, value)
        else:
            self.node.update_kwarg(name, value)

    def scaled(self, size: fx.Node, dense: int, pruned: int) -> fx.Node:
        """A symbolic size that is ``pruned`` where it was ``dense``: it holds the batch as a factor."""
        if dense == pruned:
            return size
        with self.graph.inserting_before(self.node):
            product = self.graph.call_function(operator.mul, (size, pruned))
            return self.graph.call_function(operator.floordiv, (product, dense))

    def sizes(self, index: int = 0) -> list[int]:
        """The pruned shape of result ``index``."""
        return [
            size if keep is None else len(keep)
            for size, keep in zip(self.result_shapes[index], self.results[index], strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Rule:
    """How an operation treats labels, how its call changes, and how the masked twin runs it."""

    labels: Callable[[Call], Labels | list[Labels]]
    rewrite: Callable[[Rewrite], None] | None = None
    masking: Masking = plain


def argument_names(op: Any) -> list[str]:
    """The names of an ATen operation's arguments, in the order of its schema."""
    return [argument.name for argument in op._schema.arguments]


def bind(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the names of the operation's schema, defaults filled in."""
    bound = {argument.name: argument.default_value for argument in op._schema.arguments if argument.has_default_value()}
    bound.update(zip(argument_names(op), args, strict=False))
    return {**bound, **kwargs}


def named(names: str, rule: Rule) -> dict[str, Rule]:
    """One rule for several operations, whose names are separated by spaces."""
    return dict.fromkeys(names.split(), rule)


def place(layers: Sequence[Layer], mapping: dict[int, int]) -> tuple[Layer, ...]:
    """Layers with their dimensions renumbered."""
    return tuple(layer.moved(mapping) for layer in layers)


def span_of(labels: Labels, mapping: dict[int, int]) -> Span:
    """A tensor's labels over named dimensions; dimensions of length 1 broadcast."""
    real = frozenset(mapping[dim] for dim, size in enumerate(labels.shape) if size > 1)
    return Span(place(labels.layers, mapping), real)


def settle(span: Span, mapping: dict[int, int], shape: Sequence[int]) -> Labels:
    """The labels of a result whose dimensions are ``mapping`` of the named ones."""
    return Labels(tuple(shape), place(span.layers, mapping))
