"""Extraction: the piece of a captured graph between the values that enter a module and those that leave it."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from deployprune.graph.calls import Call
from deployprune.graph.training_form import Program

__all__ = ["Piece", "extract"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A graph of its own: ``program(*inputs, *tensors)`` gives ``outputs``; all three are names in the whole graph.

    ``tensors`` are the whole graph's parameters and buffers that the piece reads.
    """

    program: fx.GraphModule
    inputs: tuple[str, ...]
    tensors: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Size:
    """A batch-dependent number as a dimension of an input: ``input.shape[dim] * times // over``."""

    source: fx.Node
    dim: int
    times: int
    over: int


def extract(whole: fx.GraphModule, call: Call, tensors: Collection[str]) -> Piece | None:
    """The nodes between the call's inputs and outputs; None where they need anything else of the graph.

    ``tensors`` names what stays an operand of the piece; all else that the graph holds becomes a constant of it.
    """
    nodes = {node.name: node for node in whole.graph.nodes}
    if any(name not in nodes for name in call.leaving.values):
        return None
    inputs = [nodes[name] for name in call.entering.values if name in nodes]
    outputs = [nodes[name] for name in call.leaving.values]
    found = _between(inputs, outputs)
    if found is None:
        return None
    inner, sizes = found
    held = [node for node in whole.graph.nodes if node in inner and node.op == "get_attr" and node.target in tensors]
    used = [n for n in inputs if n in outputs or any(u in inner for u in n.users) or _gives_size(n, sizes)]
    graph, constants = _copy(whole, inner - set(held), sizes, [*used, *held], outputs)
    return Piece(
        _program(graph, constants),
        tuple(node.name for node in used),
        tuple(str(node.target) for node in held),
        tuple(node.name for node in outputs),
    )


def _gives_size(node: fx.Node, sizes: Mapping[fx.Node, _Size]) -> bool:
    return any(size.source is node for size in sizes.values())


def _between(inputs: list[fx.Node], outputs: list[fx.Node]) -> tuple[set[fx.Node], dict[fx.Node, _Size]] | None:
    """All nodes that the outputs need, up to the inputs; batch sizes from elsewhere are read off the inputs."""
    inner: set[fx.Node] = set()
    sizes: dict[fx.Node, _Size] = {}
    waiting = [node for node in outputs if node not in inputs]
    while waiting:
        node = waiting.pop()
        if node in inner or node in sizes or node in inputs:
            continue
        size = _as_size(node, inputs)
        if size is not None:
            sizes[node] = size
        elif node.op == "placeholder":
            return None
        else:
            inner.add(node)
            waiting.extend(node.all_input_nodes)
    return inner, sizes


def _as_size(node: fx.Node, inputs: list[fx.Node]) -> _Size | None:
    """A symbolic size as a multiple or fraction of a symbolic dimension of an input."""
    value = node.meta.get("val")
    if not isinstance(value, torch.SymInt):
        return None
    for source in inputs:
        for dim, length in enumerate(getattr(source.meta.get("val"), "shape", ())):
            if isinstance(length, torch.SymInt):
                ratio = value.node.expr / length.node.expr
                if ratio.is_Rational and ratio > 0:
                    return _Size(source, dim, int(ratio.p), int(ratio.q))
    return None


def _copy(
    whole: fx.GraphModule,
    inner: set[fx.Node],
    sizes: Mapping[fx.Node, _Size],
    given: list[fx.Node],
    outputs: list[fx.Node],
) -> tuple[fx.Graph, dict[str, Any]]:
    graph, constants = fx.Graph(), {}
    copies: dict[fx.Node, fx.Node] = {node: graph.placeholder(node.name) for node in given}
    for node, size in sizes.items():
        copies[node] = _write_size(graph, copies[size.source], size)
    for node in whole.graph.nodes:
        if node in inner:
            copies[node] = graph.node_copy(node, copies.__getitem__)
            if node.op == "get_attr":
                name = copies[node].target = str(node.target).replace(".", "_")
                constants[name] = operator.attrgetter(str(node.target))(whole)
    graph.output([copies[node] for node in outputs])
    return graph, constants


def _write_size(graph: fx.Graph, source: fx.Node, size: _Size) -> fx.Node:
    length = graph.call_function(torch.ops.aten.sym_size.int, (source, size.dim))
    if size.times != 1:
        length = graph.call_function(operator.mul, (length, size.times))
    return length if size.over == 1 else graph.call_function(operator.floordiv, (length, size.over))


def _program(graph: fx.Graph, constants: Mapping[str, Any]) -> fx.GraphModule:
    root = nn.Module()
    for name, value in constants.items():
        if isinstance(value, torch.Tensor):
            root.register_buffer(name, value.detach().clone(), persistent=False)
        elif name != "training":
            setattr(root, name, value)
    program = Program(root, graph)
    program._non_persistent_buffers_set.update(program._buffers)
    return program
