"""Surgery on the captured graph: parameters are sliced, and every size, index and group count in the calls follows.

The result is always right where it exists; it is the oracle that the user's own module, shrunk, must equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from deployprune.graph.branches import leave_out
from deployprune.graph.copying import copy_module
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import Labels
from deployprune.graph.removal import Removal, kept_parameters
from deployprune.graph.rules import Rewrite, rule_for
from deployprune.graph.rules.base import bind
from deployprune.graph.rules.masking import Keep

__all__ = ["prune_graph", "slice_parameter", "slice_parameters", "sliced_tensors"]

KeptIndices = Mapping[str, Mapping[int, Sequence[int]]]


def prune_graph(removal: Removal) -> fx.GraphModule:
    """The captured graph without what the removal takes: a new module, callable and trainable like the dense one."""
    dense = removal.graph.captured.module
    module = copy_module(dense, sliced_tensors(dense, kept_parameters(removal)))
    nodes = {node.name: node for node in removal.graph.captured.module.graph.nodes}
    for node in list(module.graph.nodes):
        if node.op == "call_function" and node.name in nodes:
            _rewrite(module, node, nodes[node.name], removal)
    leave_out(module, removal.skipped)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def slice_parameters(module: nn.Module, kept: KeptIndices) -> None:
    """Replace every parameter and buffer named in ``kept`` by its part; one tensor under two names stays one."""
    parts = sliced_tensors(module, kept)
    for name in kept:
        owner, _, leaf = name.rpartition(".")
        parent = module.get_submodule(owner)
        tensor = getattr(parent, leaf)
        if isinstance(tensor, nn.Parameter):
            parent.register_parameter(leaf, parts[id(tensor)])  # type: ignore[arg-type]
        else:
            setattr(parent, leaf, parts[id(tensor)])


def sliced_tensors(module: nn.Module, kept: KeptIndices) -> dict[int, torch.Tensor]:
    """The parts of all tensors named in ``kept``, by the identity of the whole."""
    parts: dict[int, torch.Tensor] = {}
    for name, dims in kept.items():
        owner, _, leaf = name.rpartition(".")
        tensor = getattr(module.get_submodule(owner), leaf)
        if id(tensor) not in parts:
            parts[id(tensor)] = _sliced(tensor, dims)
    return parts


def _sliced(tensor: torch.Tensor, dims: Mapping[int, Sequence[int]]) -> torch.Tensor:
    part = slice_parameter(tensor.detach(), dims)
    return nn.Parameter(part, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else part


def slice_parameter(tensor: torch.Tensor, dims: Mapping[int, Sequence[int]]) -> torch.Tensor:
    """The part of a tensor at the kept indices of each dimension, in memory of its own."""
    if not dims:
        return tensor.clone()
    for dim, indices in sorted(dims.items(), key=lambda item: len(item[1]) / tensor.shape[item[0]]):
        tensor = tensor.index_select(dim, torch.tensor(indices, dtype=torch.int64))
    return tensor


def _rewrite(module: fx.GraphModule, node: fx.Node, dense: fx.Node, removal: Removal) -> None:
    graph = removal.graph
    rule = rule_for(node.target)
    results = [removal.keeps(labels) for labels in graph.results(dense)]
    if rule is None or rule.rewrite is None or not _touches(graph, dense, removal, results):
        return

    def labels_of(source: fx.Node) -> Labels:
        return graph.results(source)[0]

    def keeps(source: fx.Node) -> list[Keep]:
        return removal.keeps(labels_of(source))

    def add_constant(value: torch.Tensor) -> fx.Node:
        name = f"_kept_{sum(1 for key in dict(module.named_buffers()) if key.startswith('_kept_'))}"
        module.register_buffer(name, value, persistent=False)
        with module.graph.inserting_before(node):
            return module.graph.get_attr(name)

    rule.rewrite(
        Rewrite(
            graph=module.graph,
            node=node,
            arguments=_bound(node),
            keeps=keeps,
            shapes=lambda source: labels_of(source).shape,
            results=results,
            result_shapes=[labels.shape for labels in graph.results(dense)],
            add_constant=add_constant,
            constant=lambda source: graph.constants[source.name],
        )
    )


def _bound(node: fx.Node) -> dict[str, Any]:
    return bind(node.target, node.args, dict(node.kwargs))


def _touches(graph: LabelledGraph, node: fx.Node, removal: Removal, results: Sequence[Sequence[Keep]]) -> bool:
    operands = [removal.keeps(labels) for source in node.all_input_nodes for labels in graph.results(source)]
    return any(keep is not None for keeps in (*operands, *results) for keep in keeps)
