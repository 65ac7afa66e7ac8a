"""The same node of a model, found again in the runs of all its variants."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.dims import DimIndex
from deployprune.records import Analysis, DimForm, NodeTime, VariantRun

__all__ = ["MatchedNode", "Matching", "match_nodes", "operator"]

_LAYOUT_SUFFIX = re.compile(r"(_nchwc|_token_\d+)+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedNode:
    """One node through all runs: its ms run by run, and its dimensions as forms of the group widths."""

    name: str
    operator: str
    ms: NDArray[np.float64]
    inputs: tuple[tuple[DimForm, ...], ...]
    output: tuple[DimForm, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """The nodes that every run has, and the ms, run by run, of those that only some runs have (layout reorders)."""

    nodes: tuple[MatchedNode, ...]
    leftover_ms: NDArray[np.float64]


def operator(kind: str) -> str:
    """A runtime's word for a node without its fusions: ``FusedConv``, ``Convolution`` and ``Conv`` are ``conv``."""
    word = kind.lower().replace("fused", "").replace("convolution", "conv").lstrip("_")
    return {"fullyconnected": "gemm", "linear": "gemm", "innerproduct": "gemm"}.get(word, word)


def match_nodes(runs: Sequence[VariantRun], analysis: Analysis) -> Matching:
    """Match nodes by operator and bare name; those that a fusion renamed, by their rank among the rest.

    A node whose dimensions fit no form of the analysis in all runs is not taken for matched: it counts as left over.
    """
    index = DimIndex(analysis, [run.widths for run in runs])
    keyed = [_keyed(run.nodes) for run in runs]
    shared = set.intersection(*(set(nodes) for nodes in keyed))
    rows = [[nodes[key] for nodes in keyed] for key in keyed[0] if key in shared]
    rows.extend(_by_rank([[node for key, node in nodes.items() if key not in shared] for nodes in keyed]))
    matched = [node for node in (_resolve(row, index) for row in rows) if node is not None]
    whole = np.array([sum(node.ms for node in run.nodes) for run in runs])
    taken = sum((node.ms for node in matched), np.zeros(len(runs)))
    return Matching(nodes=tuple(matched), leftover_ms=np.maximum(whole - taken, 0.0))


def _keyed(nodes: Sequence[NodeTime]) -> dict[tuple[str, str, int], NodeTime]:
    """Nodes by operator, bare name and occurrence (runtimes name all their reorders alike)."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = {}
    for node in nodes:
        key = (operator(node.kind), _LAYOUT_SUFFIX.sub("", node.name))
        keyed[(*key, seen[key])] = node
        seen[key] += 1
    return keyed


def _by_rank(runs: Sequence[Sequence[NodeTime]]) -> Iterator[list[NodeTime]]:
    """Nodes with the same operator and the same rank, where every run has as many of that operator."""
    ranked: list[dict[str, list[NodeTime]]] = []
    for nodes in runs:
        by_operator = defaultdict(list)
        for node in nodes:
            by_operator[operator(node.kind)].append(node)
        ranked.append(by_operator)
    for word, first in ranked[0].items():
        if all(len(by_operator.get(word, ())) == len(first) for by_operator in ranked):
            yield from (list(row) for row in zip(*(by_operator[word] for by_operator in ranked), strict=True))


def _resolve(row: Sequence[NodeTime], index: DimIndex) -> MatchedNode | None:
    """The node with its dimensions as forms, or None where a dimension (or the number of them) is not explained."""
    if not row[0].outputs:
        return None
    operands = min(len(node.inputs) for node in row)
    inputs = [_shape([node.inputs[i] for node in row], index) for i in range(operands)]
    output = _shape([node.outputs[0] if node.outputs else () for node in row], index)
    if output is None or None in inputs[:1]:
        return None
    ms = np.array([node.ms for node in row])
    known = tuple(shape if shape is not None else () for shape in inputs)
    return MatchedNode(name=row[0].name, operator=operator(row[0].kind), ms=ms, inputs=known, output=output)


def _shape(shapes: Sequence[tuple[int, ...]], index: DimIndex) -> tuple[DimForm, ...] | None:
    if len({len(shape) for shape in shapes}) != 1:
        return None
    forms = [index.find(sizes) for sizes in zip(*shapes, strict=True)]
    return None if None in forms else tuple(form for form in forms if form is not None)
