"""Residual branches: what stands between a value and the addition that brings it back, and can be left out whole.

Without its branch an addition is its other operand, the trunk (He et al. 2016, Identity Mappings; Huang et al. 2016,
Deep Networks with Stochastic Depth, whose nets lose branches while they train).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import fx

from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import Labels
from deployprune.graph.origin import module_of
from deployprune.graph.rules import operation_name

__all__ = ["Branch", "find_branches", "inner_groups", "leave_out"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch by the names of graph nodes: the addition that ends it, the other operand, and what is inside.

    ``parameters`` are those that only the branch uses; ``name`` is the innermost module that holds it all.
    """

    name: str
    addition: str
    trunk: str
    inside: frozenset[str]
    parameters: frozenset[str]


def find_branches(graph: LabelledGraph) -> tuple[Branch, ...]:
    """All branches with parameters of their own, without those that hold another one."""
    nodes = list(graph.captured.module.graph.nodes)
    above = _ancestors(nodes)
    found = [
        branch
        for node in nodes
        if node.op == "call_function" and hasattr(node.target, "_schema") and operation_name(node.target) == "add"
        for branch in _branches_of(node, nodes, above, graph)
    ]
    inner = [one for one in found if not any(other.addition in one.inside for other in found)]
    largest = {branch.addition: branch for branch in sorted(inner, key=lambda branch: len(branch.inside))}
    inner = [branch for branch in inner if largest[branch.addition] is branch]  # an addition keeps one of its sides
    taken: dict[str, int] = {}
    return tuple(_renamed(branch, taken) for branch in inner)


def inner_groups(
    graph: LabelledGraph, branches: tuple[Branch, ...], groups: Mapping[str, frozenset[int]]
) -> dict[str, str]:
    """``{group: branch}`` for groups, given by their atoms, that live in one branch and nowhere else."""
    owner = {atom: name for name, atoms in groups.items() for atom in atoms}
    where: dict[str, set[str]] = {name: set() for name in groups}
    for node in graph.captured.module.graph.nodes:
        for labels in graph.results(node):
            for name in _owners(graph, labels, owner):
                where[name].add(node.name)
    return {
        name: branch.name for branch in branches for name, places in where.items() if places and places <= branch.inside
    }


def leave_out(module: fx.GraphModule, branches: Sequence[Branch]) -> None:
    """Give the trunk to whoever uses the addition, and drop what was inside, in place."""
    nodes = {node.name: node for node in module.graph.nodes}
    for branch in branches:
        nodes[branch.addition].replace_all_uses_with(nodes[branch.trunk])
        for node in reversed([*(nodes[name] for name in nodes if name in branch.inside), nodes[branch.addition]]):
            module.graph.erase_node(node)
        for name in branch.parameters:
            owner, _, leaf = name.rpartition(".")
            delattr(module.get_submodule(owner), leaf)


def _owners(graph: LabelledGraph, labels: Labels, owner: Mapping[int, str]) -> set[str]:
    atoms = {atom for layer in labels.layers for atom in graph.atoms.find(layer.ids).ravel().tolist()}
    return {owner[atom] for atom in atoms if atom in owner}


def _branches_of(
    node: fx.Node, nodes: list[fx.Node], above: Mapping[fx.Node, int], graph: LabelledGraph
) -> Iterator[Branch]:
    left, right = node.args[:2]
    if not (isinstance(left, fx.Node) and isinstance(right, fx.Node)) or _shape(graph, left) != _shape(graph, right):
        return
    for end, trunk in ((right, left), (left, right)):
        bits = above[end] & ~above[trunk]
        inside = _without_shared({other for index, other in enumerate(nodes) if bits >> index & 1}, node)
        private = all(user in inside or user is node for other in inside for user in other.users)
        if end in inside and private and not any(other.op == "placeholder" for other in inside):
            used = frozenset(str(other.target) for other in inside if other.op == "get_attr")
            elsewhere = {str(other.target) for other in nodes if other.op == "get_attr" and other not in inside}
            if own := used - elsewhere:
                names = frozenset(other.name for other in inside)
                yield Branch(_common_module(inside), node.name, trunk.name, names, own)


def _without_shared(inside: set[fx.Node], end: fx.Node) -> set[fx.Node]:
    """Without what reads no input and is used elsewhere too: shared parameters, the flag that tells training."""
    free: set[fx.Node] = set()
    for node in sorted(inside):
        if node.op != "placeholder" and all(source in free for source in node.all_input_nodes):
            free.add(node)
    kept = set(inside)
    while shared := {node for node in free & kept if any(user not in kept and user is not end for user in node.users)}:
        kept -= shared
    return kept


def _ancestors(nodes: list[fx.Node]) -> dict[fx.Node, int]:
    """Every node's ancestors and itself, as the bits of a number."""
    above: dict[fx.Node, int] = {}
    for index, node in enumerate(nodes):
        bits = 1 << index
        for source in node.all_input_nodes:
            bits |= above[source]
        above[node] = bits
    return above


def _shape(graph: LabelledGraph, node: fx.Node) -> tuple[int, ...] | None:
    labels = graph.results(node)
    return labels[0].shape if len(labels) == 1 else None


def _common_module(inside: set[fx.Node]) -> str:
    paths = [module_of(node).split(".") for node in inside if node.op == "call_function"]
    same = itertools.takewhile(lambda steps: len(set(steps)) == 1, zip(*paths, strict=False))
    return ".".join(steps[0] for steps in same)


def _renamed(branch: Branch, taken: dict[str, int]) -> Branch:
    taken[branch.name] = taken.get(branch.name, 0) + 1
    count = taken[branch.name]
    name = branch.name or "branch"
    return Branch(
        name if count == 1 else f"{name} #{count}", branch.addition, branch.trunk, branch.inside, branch.parameters
    )
