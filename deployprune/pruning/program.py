"""The plan as a mixed-integer linear program: one width a group, least importance lost, latency within its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.candidates import Choice
from deployprune.pruning.costs import Bilinear, CostTables
from deployprune.pruning.linear import LinearProgram, Part

__all__ = ["Solution", "solve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The widths found and a lower bound of the loss of any; ``widths`` is None where no widths meet the limits."""

    widths: dict[str, int] | None
    bound: float


def solve(
    choices: Sequence[Choice],
    targets: Sequence[tuple[CostTables, float, float]],
    *,
    time_limit_s: float,
    avoid: Sequence[Mapping[str, int]] = (),
) -> Solution:
    """Choose the widths of least loss with ``low <= latency <= high`` (ms) for every (tables, low, high).

    Widths equal to one of ``avoid`` are not chosen.

    Pairs of groups are the local polytope (a variable a pair of candidates, with both marginals: Wainwright & Jordan
    2008, section 4.1), bilinear nodes a product of a binary and a bounded sum, disaggregated; both are exact at
    integral points. Solved by HiGHS to a relative gap of 0.1 %, small programs to the optimum.
    """
    program = LinearProgram()
    by_group = {choice.group: choice for choice in choices}
    binaries = {choice.group: program.variables(choice.loss, integral=True) for choice in choices}
    for columns in binaries.values():
        program.constrain([(columns, np.ones(len(columns)))], 1.0, 1.0)
    _forbid(program, binaries, choices, avoid)
    _tie_branches(program, binaries, choices)
    pairs = dict.fromkeys(pair for tables, _, _ in targets for pair in tables.pairs)
    joint = {pair: _pair(program, binaries[pair[0]], binaries[pair[1]]) for pair in pairs}
    for tables, low, high in targets:
        parts = [(binaries[name], cost) for name, cost in tables.single.items()]
        parts += [(joint[pair], cost.ravel()) for pair, cost in tables.pairs.items()]
        for node in tables.bilinear:
            parts += _product(program, binaries, by_group, node)
        scale = max(high, 1e-9)
        parts = [(columns, cost / scale) for columns, cost in parts]
        program.constrain(parts, (low - tables.constant) / scale, (high - tables.constant) / scale)
    values, bound = program.minimize(time_limit_s)
    if values is None:
        return Solution(widths=None, bound=bound)
    widths = {choice.group: choice.widths[int(np.argmax(values[binaries[choice.group]]))] for choice in choices}
    return Solution(widths=widths, bound=bound)


def _forbid(
    program: LinearProgram,
    binaries: Mapping[str, NDArray[np.intp]],
    choices: Sequence[Choice],
    avoid: Sequence[Mapping[str, int]],
) -> None:
    """At least one group other than in each of these widths (where the candidates hold them at all)."""
    for widths in avoid:
        if all(widths[choice.group] in choice.widths for choice in choices):
            columns = [binaries[choice.group][choice.widths.index(widths[choice.group])] for choice in choices]
            program.constrain([(np.array(columns), np.ones(len(columns)))], 0.0, len(columns) - 1.0)


def _tie_branches(program: LinearProgram, binaries: Mapping[str, NDArray[np.intp]], choices: Sequence[Choice]) -> None:
    """A branch is left out with all of its groups, or with none."""
    first: dict[str, NDArray[np.intp]] = {}
    for choice in choices:
        if choice.branch and 0 in choice.widths:
            column = binaries[choice.group][[choice.widths.index(0)]]
            other = first.setdefault(choice.branch, column)
            if other is not column:
                program.constrain([(column, np.ones(1)), (other, -np.ones(1))], 0.0, 0.0)


def _pair(program: LinearProgram, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Variables for the joint choice of two groups, row by row, whose marginals are the two groups' own."""
    joint = program.variables(np.zeros(len(first) * len(second)), upper=1.0).reshape(len(first), len(second))
    for marginals, single in ((joint, first), (joint.T, second)):
        for columns, binary in zip(marginals, single, strict=True):
            program.constrain([(columns, np.ones(len(columns))), (np.array([binary]), -np.ones(1))], 0.0, 0.0)
    return joint.ravel()


def _product(
    program: LinearProgram, binaries: Mapping[str, NDArray[np.intp]], choices: Mapping[str, Choice], node: Bilinear
) -> list[Part]:
    """The node's cost, with a part of the others' sum for each of the pivot's candidates, zero but for the chosen."""
    changes = {
        name: slope * (np.array(choices[name].widths) - node.incumbent[name]) for name, slope in node.slopes.items()
    }
    least = sum(float(change.min()) for change in changes.values())
    most = sum(float(change.max()) for change in changes.values())
    pivot = binaries[node.pivot]
    parts = program.variables(np.zeros(len(pivot)), lower=-np.inf)
    for part, binary in zip(parts, pivot, strict=True):
        columns = np.array([part, binary])
        program.constrain([(columns, np.array([1.0, -least]))], 0.0, np.inf)
        program.constrain([(columns, np.array([1.0, -most]))], -np.inf, 0.0)
    total: list[Part] = [(binaries[name], -change) for name, change in changes.items()]
    program.constrain([(parts, np.ones(len(parts))), *total], 0.0, 0.0)
    return [(pivot, node.offset), (parts, node.rate)]
