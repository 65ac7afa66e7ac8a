"""What every call of the dense graph costs: its dimensions as forms, and those that it multiplies and adds over.

A call may be several products (attention, a recurrent layer): each is an entry, the last one named like the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx

from deployprune.graph.forms import Forms
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.origin import module_of
from deployprune.graph.rules import operation_name
from deployprune.graph.rules.base import bind
from deployprune.graph.rules.einsum import subscripts
from deployprune.records import DimForm, LayerCost

__all__ = ["layer_costs"]

Shape = tuple[DimForm, ...]


@dataclass(frozen=True, slots=True)
class _Product:
    """``output`` elements, each a sum over ``reduced``; ``inputs`` where they are not those of the whole call."""

    output: Shape
    reduced: Shape
    inputs: tuple[Shape, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Sized:
    """A call with its arguments by name; tensors among them are asked for their dimensions."""

    graph: LabelledGraph
    forms: Forms
    arguments: Mapping[str, Any]
    output: Shape

    def shape(self, name: str) -> Shape:
        """The dimensions of the argument of this name; none where it is no tensor."""
        return self.shape_of(self.arguments[name])

    def shape_of(self, node: Any) -> Shape:
        """The dimensions of a node's first result."""
        return self.forms.shape(self.graph.results(node)[0]) if isinstance(node, fx.Node) else ()

    def shapes(self, name: str) -> list[Shape]:
        """The dimensions of the tensors in a list."""
        return [self.shape_of(node) for node in self.arguments[name]]


def layer_costs(graph: LabelledGraph, forms: Forms) -> tuple[LayerCost, ...]:
    """Every call of the dense graph that gives a tensor, with its dimensions as forms."""
    costs: list[LayerCost] = []
    for node in graph.captured.module.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema") and graph.results(node):
            costs.extend(_costs(graph, forms, node))
    return tuple(costs)


def _costs(graph: LabelledGraph, forms: Forms, node: fx.Node) -> Iterator[LayerCost]:
    """The products of a call, one after another; a call that is none is one entry without MACs."""
    op = operation_name(node.target)
    sources = [graph.results(source) for source in node.all_input_nodes]
    inputs = tuple(forms.shape(labels[0]) for labels in sources if labels)
    output = forms.shape(graph.results(node)[0])
    find = _PRODUCTS.get(op)
    products = find(_Sized(graph, forms, bind(node.target, node.args, dict(node.kwargs)), output)) if find else []
    before = tuple(dict.fromkeys(_calls(node.all_input_nodes)))
    for index, product in enumerate(products or [_Product(output, ())]):
        name = node.name if index >= len(products) - 1 else f"{node.name}.{index}"
        yield LayerCost(
            name=name,
            op=op,
            module=module_of(node),
            inputs=inputs if product.inputs is None else product.inputs,
            output=product.output,
            contracts=bool(product.reduced),
            reduced=product.reduced,
            sources=before,
        )
        before = (name,)


def _calls(nodes: Sequence[fx.Node]) -> Iterator[str]:
    """The operations among these, and in the place of one of several results the operation that gives it."""
    for node in nodes:
        if node.op == "call_function":
            yield from (node.name,) if hasattr(node.target, "_schema") else _calls(node.all_input_nodes)


def _convolution(call: _Sized) -> list[_Product]:
    return _transposed(call) if call.arguments.get("transposed") else _by_weight(call)


def _by_weight(call: _Sized) -> list[_Product]:
    return [_Product(call.output, call.shape("weight")[1:])]


def _transposed(call: _Sized) -> list[_Product]:
    """An output element is reached by one kernel position in as many as the stride is long."""
    stride = call.arguments["stride"]
    steps = stride if isinstance(stride, list | tuple) else [stride]
    kernel = 1.0
    for dim, form in enumerate(call.shape("weight")[2:]):
        kernel *= form.constant / int(steps[dim % len(steps)])
    groups = call.arguments["groups"]
    reached = DimForm(constant=max(1, round(kernel / groups if isinstance(groups, int) else kernel)))
    return [_Product(call.output, (*call.shape("input")[1:2], reached))]


def _product(call: _Sized) -> list[_Product]:
    left = next(name for name in ("batch1", "mat1", "self") if name in call.arguments)
    return [_Product(call.output, call.shape(left)[-1:])]


def _bilinear(call: _Sized) -> list[_Product]:
    _, first, second = call.shape("weight")
    return [_Product((*call.output, second), (first,)), _Product(call.output, (second,))]


def _attention(call: _Sized) -> list[_Product]:
    query, key = call.shape("query"), call.shape("key")
    return [_Product((*query[:-1], key[-2]), query[-1:]), _Product(call.output, key[-2:-1])]


def _einsum(call: _Sized) -> list[_Product]:
    """The operands are joined one after another, as the rule joins them."""
    shapes = call.shapes("tensors")
    names, output = subscripts(call.arguments["equation"], [len(shape) for shape in shapes])
    sizes: dict[str, DimForm] = {}
    for name, shape in zip(names, shapes, strict=True):
        for letter, form in zip(name, shape, strict=True):
            if form.groups or form.constant > 1 or letter not in sizes:
                sizes[letter] = form
    products, current = [], names[0]
    for index, name in enumerate(names[1:], start=2):
        letters = dict.fromkeys(current + name)
        rest = set(output).union(*names[index:])
        current = "".join(letter for letter in letters if letter in rest)
        order = current if index < len(names) else output
        gone = tuple(sizes[letter] for letter in letters if letter not in rest)
        products.append(_Product(tuple(sizes[letter] for letter in order), gone or (DimForm(constant=1),)))
    return products


def _recurrent(call: _Sized) -> list[_Product]:
    """One product a weight and step; the last layer's recurrent ones, of all directions, stand for the call."""
    x = call.shape("input")
    weights = [shape for shape in call.shapes("params") if len(shape) == 2]
    ways = 1 + call.arguments["bidirectional"]
    each = len(weights) // (ways * call.arguments["num_layers"])
    last = {len(weights) - each * way - each + 1 for way in range(ways)}
    products = [
        _Product((*x[:-1], rows), (columns,), ((*x[:-1], columns), (rows, columns)))
        for index, (rows, columns) in enumerate(weights)
        if index not in last
    ]
    return [*products, _Product(call.output, weights[1][:1])]


_PRODUCTS: Mapping[str, Callable[[_Sized], list[_Product]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "addmm", "baddbmm"), _product),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _recurrent),
    "linear": _by_weight,
    "bilinear": _bilinear,
    "einsum": _einsum,
    "scaled_dot_product_attention": _attention,
}
