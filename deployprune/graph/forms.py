"""Every dimension as a function of the group widths: the forms that latency and MACs are computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import fx

from deployprune.graph.labels import Ids, Labels
from deployprune.graph.origin import module_of
from deployprune.graph.propagate import LabelledGraph, bind
from deployprune.graph.rules import operation_name
from deployprune.records import DimForm, LayerCost

__all__ = ["Forms", "layer_costs"]

_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d", "convolution"})
_TRANSPOSED = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
_PRODUCTS = frozenset({"matmul", "mm", "bmm", "addmm", "baddbmm"})


class Forms:
    """Which group decides about which index of a dimension, from the units' atoms per group."""

    def __init__(self, graph: LabelledGraph, units: Mapping[str, Sequence[frozenset[int]]]) -> None:
        self._graph = graph
        self._sizes = {name: len(members) for name, members in units.items()}
        self._units: dict[int, frozenset[tuple[str, int]]] = {}
        for name, members in units.items():
            for index, atoms in enumerate(members):
                for atom in atoms:
                    self._units[atom] = self._units.get(atom, frozenset()) | {(name, index)}
        self._known: dict[tuple[tuple[bytes, tuple[int, ...], int], ...], DimForm] = {}
        self._cache: dict[tuple[bytes, tuple[int, ...], int], list[frozenset[str]]] = {}

    def shape(self, labels: Labels) -> tuple[DimForm, ...]:
        """All dimensions of a tensor."""
        return tuple(self._dimension(labels, dim) for dim in range(len(labels.shape)))

    def _dimension(self, labels: Labels, dim: int) -> DimForm:
        layers = [(layer.ids, layer.dims.index(dim)) for layer in labels.layers if dim in layer.dims]
        if not layers:
            return DimForm(constant=labels.shape[dim])
        key = tuple((ids.tobytes(), ids.shape, axis) for ids, axis in layers)
        if key not in self._known:
            self._known[key] = self._form([self._owners(ids, axis) for ids, axis in layers])
        return self._known[key]

    def _form(self, owners: Sequence[Sequence[frozenset[str]]]) -> DimForm:
        counts = Counter(frozenset[str]().union(*parts) for parts in zip(*owners, strict=True))
        terms = []
        for groups, count in sorted(counts.items(), key=lambda item: sorted(item[0])):
            if groups:
                dense = 1
                for name in groups:
                    dense *= self._sizes[name]
                terms.append((count / dense, tuple(sorted(groups))))
        return DimForm(constant=counts[frozenset()], terms=tuple(terms))

    def _owners(self, ids: Ids, axis: int) -> list[frozenset[str]]:
        """For every index along ``axis`` the groups of which one unit removes that index whole."""
        roots = self._graph.atoms.find(ids)
        key = (roots.tobytes(), roots.shape, axis)
        if key not in self._cache:
            slabs = roots.swapaxes(0, axis).reshape(roots.shape[axis], -1)
            owners = []
            for slab in slabs.tolist():
                common = frozenset.intersection(*(self._units.get(atom, frozenset()) for atom in set(slab)))
                owners.append(frozenset(name for name, _ in common))
            self._cache[key] = owners
        return self._cache[key]


def layer_costs(graph: LabelledGraph, forms: Forms) -> tuple[LayerCost, ...]:
    """Every call of the dense graph that gives a tensor, with its dimensions as forms."""
    costs = []
    for node in graph.captured.module.graph.nodes:
        if node.op != "call_function" or not hasattr(node.target, "_schema"):
            continue
        results = graph.results(node)
        if results:
            costs.extend(_costs(graph, forms, node, results[0]))
    return tuple(costs)


def _costs(graph: LabelledGraph, forms: Forms, node: fx.Node, result: Labels) -> list[LayerCost]:
    name = operation_name(node.target)
    sources = [graph.results(source) for source in node.all_input_nodes]
    inputs = tuple(forms.shape(labels[0]) for labels in sources if labels)
    output = forms.shape(result)
    arguments = bind(node.target, node.args, dict(node.kwargs))
    if name == "scaled_dot_product_attention":
        query, key = (forms.shape(graph.results(arguments[which])[0]) for which in ("query", "key"))
        scores = (*query[:-1], key[-2])
        first = _cost(f"{node.name}.scores", name, node, inputs, scores, (query[-1],))
        second = _cost(node.name, name, node, inputs, output, (key[-2],))
        return [first, replace(second, sources=(first.name,))]
    return [_cost(node.name, name, node, inputs, output, _reduced(graph, forms, name, arguments))]


def _cost(
    name: str, op: str, node: fx.Node, inputs: tuple[tuple[DimForm, ...], ...], output: tuple[DimForm, ...],
    reduced: tuple[DimForm, ...],
) -> LayerCost:  # fmt: skip
    return LayerCost(
        name=name,
        op=op,
        module=module_of(node),
        inputs=inputs,
        output=output,
        contracts=bool(reduced),
        reduced=reduced,
        sources=tuple(dict.fromkeys(_calls(node.all_input_nodes))),
    )


def _calls(nodes: Sequence[fx.Node]) -> Iterator[str]:
    """The operations among these, and in the place of one of several results the operation that gives it."""
    for node in nodes:
        if node.op == "call_function":
            yield from (node.name,) if hasattr(node.target, "_schema") else _calls(node.all_input_nodes)


def _reduced(graph: LabelledGraph, forms: Forms, name: str, arguments: Mapping[str, Any]) -> tuple[DimForm, ...]:
    """The dimensions that are summed over: MACs are their product times that of the output."""

    def shape(argument: str) -> tuple[DimForm, ...]:
        node = arguments[argument]
        return forms.shape(graph.results(node)[0]) if isinstance(node, fx.Node) else ()

    if name in _CONVOLUTIONS:
        return shape("weight")[1:]
    if name in _TRANSPOSED:
        stride = arguments["stride"]
        steps = stride if isinstance(stride, list | tuple) else [stride]
        kernel = 1.0
        for dim, form in enumerate(shape("weight")[2:]):
            kernel *= form.constant / int(steps[dim % len(steps)])
        groups = arguments["groups"]
        return (*shape("input")[1:2], DimForm(constant=max(1, round(kernel / groups))))
    if name == "linear":
        return shape("weight")[1:]
    if name in _PRODUCTS:
        left = next(key for key in ("batch1", "mat1", "self") if key in arguments)
        return shape(left)[-1:]
    return ()
