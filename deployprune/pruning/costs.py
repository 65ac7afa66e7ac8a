"""A latency model over candidate widths, as tables that a linear program can hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.candidates import Choice
from deployprune.records import CostNode, LatencyModel

__all__ = ["Bilinear", "CostTables", "tabulate"]

_SEPARABLE = 1e-9  # interaction below this share of a node's cost is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilinear:
    """A node of more than two groups near an incumbent: ``offset[c] + rate[c] * sum(slopes[g] * (w_g - w0_g))``.

    ``c`` is the candidate of ``pivot``, the group with the most interaction: a convolution's output, where its input is
    a concatenation. Exact where the node is linear in the sum of the others; first order otherwise.
    """

    pivot: str
    offset: NDArray[np.float64]
    rate: NDArray[np.float64]
    slopes: Mapping[str, float]
    incumbent: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTables:
    """Latency in ms as a constant, a table a group, a matrix a pair of groups, and bilinear nodes."""

    constant: float
    single: Mapping[str, NDArray[np.float64]]
    pairs: Mapping[tuple[str, str], NDArray[np.float64]]
    bilinear: tuple[Bilinear, ...]


def tabulate(model: LatencyModel, choices: Mapping[str, Choice], incumbent: Mapping[str, int]) -> CostTables:
    """Evaluate the model's nodes at the candidates: exactly up to two groups, around ``incumbent`` for more."""
    single: dict[str, NDArray[np.float64]] = {name: np.zeros(len(choice.widths)) for name, choice in choices.items()}
    pairs: dict[tuple[str, str], NDArray[np.float64]] = {}
    bilinear: list[Bilinear] = []
    constant = model.constant_ms
    for groups, nodes in _by_groups(model.nodes).items():
        if len(groups) == 1:
            single[groups[0]] += [_cost(nodes, {groups[0]: width}) for width in choices[groups[0]].widths]
        elif len(groups) == 2:
            matrix, rows, columns = _interaction(nodes, choices[groups[0]], choices[groups[1]])
            single[groups[0]] += rows
            single[groups[1]] += columns
            if matrix is not None:
                pairs[groups[0], groups[1]] = matrix
        elif groups:
            bilinear.extend(_bilinear(node, groups, choices, incumbent) for node in nodes)
        else:
            constant += _cost(nodes, {})
    return CostTables(constant=constant, single=single, pairs=pairs, bilinear=tuple(bilinear))


def _by_groups(nodes: Sequence[CostNode]) -> dict[tuple[str, ...], list[CostNode]]:
    merged: dict[tuple[str, ...], list[CostNode]] = defaultdict(list)
    for node in nodes:
        merged[tuple(sorted(set(node.groups)))].append(node)
    return merged


def _cost(nodes: Sequence[CostNode], widths: dict[str, int]) -> float:
    return sum(node.cost_ms(widths) for node in nodes)


def _interaction(
    nodes: Sequence[CostNode], first: Choice, second: Choice
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64], NDArray[np.float64]]:
    """The pair's costs as ``matrix[i, j] + rows[i] + columns[j]``, the matrix None where they do not interact."""
    cost = np.array([[_cost(nodes, {first.group: a, second.group: b}) for b in second.widths] for a in first.widths])
    rows, columns = cost[:, 0], cost[0] - cost[0, 0]
    rest = cost - rows[:, None] - columns
    return (rest if np.abs(rest).max() > _SEPARABLE * np.abs(cost).max() else None), rows, columns


def _bilinear(
    node: CostNode, groups: Sequence[str], choices: Mapping[str, Choice], incumbent: Mapping[str, int]
) -> Bilinear:
    here = {name: incumbent[name] for name in groups}
    low = {name: choices[name].widths[0] for name in groups}
    high = {name: choices[name].widths[-1] for name in groups}
    floor, ceiling = node.cost_ms(low), node.cost_ms(high)
    interaction = {
        name: ceiling - node.cost_ms({**high, name: low[name]}) - node.cost_ms({**low, name: high[name]}) + floor
        for name in groups
    }
    pivot = max(groups, key=lambda name: abs(interaction[name]))
    slopes = {
        name: (node.cost_ms({**here, name: high[name]}) - node.cost_ms({**here, name: low[name]}))
        / max(high[name] - low[name], 1)
        for name in groups
        if name != pivot
    }
    spread = node.cost_ms({**high, pivot: here[pivot]}) - node.cost_ms({**low, pivot: here[pivot]})
    widths = choices[pivot].widths
    rise = [node.cost_ms({**high, pivot: width}) - node.cost_ms({**low, pivot: width}) for width in widths]
    return Bilinear(
        pivot=pivot,
        offset=np.array([node.cost_ms({**here, pivot: width}) for width in widths]),
        rate=np.array(rise) / spread if spread else np.zeros(len(widths)),
        slopes=slopes,
        incumbent=here,
    )
