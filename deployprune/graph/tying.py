"""Ties: groups that the user's code takes to be of one width, made one group.

The i-th units of the groups go together from then on, which is legal whatever the code: it only forbids removals.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from deployprune.graph.grouping import GroupedUnits
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import Ids
from deployprune.graph.units import Constraints, Unit

__all__ = ["Ties", "join_ties", "names_within", "tie_groups"]

# Names of groups, each in one set at most.
Ties = tuple[frozenset[str], ...]


def join_ties(ties: Iterable[Collection[str]]) -> Ties:
    """The same ties with those that share a group made one."""
    joined: list[frozenset[str]] = []
    for tie in ties:
        touched = [other for other in joined if not other.isdisjoint(tie)]
        joined = [other for other in joined if other not in touched]
        joined.append(frozenset(tie).union(*touched))
    return tuple(joined)


def tie_groups(graph: LabelledGraph, units: GroupedUnits, ties: Ties) -> LabelledGraph:
    """A copy of ``graph`` whose atoms of the i-th units of tied groups are one class.

    Groups of which no atoms decide by themselves stay as they are.
    """
    tied = replace(graph, atoms=copy.deepcopy(graph.atoms))
    constraints = Constraints(graph.atoms)
    for tie in ties:
        deciding = [[_deciding(constraints, unit) for unit in units[name]] for name in sorted(tie)]
        for handles in zip(*deciding, strict=True):
            first, *others = handles
            for other in others:
                if first.size == other.size or 1 in (first.size, other.size):
                    tied.atoms.unite(first, other)
    return tied


def names_within(graph: LabelledGraph, units: GroupedUnits, wanted: Iterable[Unit]) -> frozenset[str]:
    """The groups of a tied ``graph`` whose units hold one of these units of the graph before."""
    atoms = [set(graph.atoms.find(np.array(sorted(unit.atoms))).tolist()) for unit in wanted]
    return frozenset(name for name, members in units.items() if any(held <= members[0].atoms for held in atoms))


def _deciding(constraints: Constraints, unit: Unit) -> Ids:
    """One atom that takes the whole unit with it, or else all of them in their order."""
    atoms = sorted(unit.atoms)
    alone = next((atom for atom in atoms if constraints.close({atom}) == unit.atoms), None)
    return np.array(atoms if alone is None else [alone], dtype=np.int64)
