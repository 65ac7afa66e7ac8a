"""Channel groups: units that live along the same parameter axes, named in the user's words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch

import numpy as np

from deployprune.graph.atoms import Atoms
from deployprune.graph.branches import find_branches, inner_groups
from deployprune.graph.costs import layer_costs
from deployprune.graph.forms import Forms
from deployprune.graph.labelled import LabelledGraph, Opaque
from deployprune.graph.labels import KEEP, Labels
from deployprune.graph.signatures import signatures
from deployprune.graph.units import Constraints, Unit, find_units
from deployprune.records import Analysis, Axis, ChannelGroup, Frozen

__all__ = ["GroupedUnits", "describe", "group_units"]

Slices = dict[str, dict[int, tuple[int, ...]]]
# Where each atom stands in the parameters: name, dimension, index.
Places = Mapping[int, Sequence[tuple[str, int, int]]]
GroupedUnits = dict[str, tuple[Unit, ...]]


def group_units(graph: LabelledGraph) -> GroupedUnits:
    """All units that take parameters away, by the name of their group."""
    places = _places(graph)
    wanted = [atom for atom in places if atom != KEEP]
    constraints = Constraints(graph.atoms)
    families: dict[tuple[object, ...], list[Unit]] = defaultdict(list)
    units = find_units(constraints, graph.atoms.find(np.array(wanted, dtype=np.int64)).tolist())
    trained = _parameters(graph)
    for unit, signature in zip(units, signatures(constraints.tensors, units), strict=True):
        if any(name in trained for atom in unit.atoms for name, _, _ in places.get(atom, ())):
            families[unit.kind, signature].append(unit)
    order = {name: index for index, name in enumerate(graph.parameters)}
    named: GroupedUnits = {}
    for family in sorted(families.values(), key=lambda units: _first_place(units[0], places, order)):
        members = _disjoint(family)
        if len(members) > 1:
            named[_name(members[0], slices_of(members[0], places), order, named)] = members
    return named


def describe(
    graph: LabelledGraph, units: GroupedUnits, *, ignore: Sequence[str] = (), left_out: Collection[str] = ()
) -> Analysis:
    """The record of what can be pruned, what cannot and why, and what every layer costs.

    ``ignore`` holds patterns such as ``stem*`` for group names, or for modules whose parameters a group touches;
    ``left_out`` names groups that the user's own module cannot follow.
    """
    places = _places(graph)
    chosen = {
        name: members
        for name, members in units.items()
        if name not in left_out and not _ignored(members[0], name, places, ignore)
    }
    forms = Forms(graph, {name: [unit.atoms for unit in members] for name, members in chosen.items()})
    atoms = {name: frozenset().union(*(unit.atoms for unit in members)) for name, members in chosen.items()}
    branches = inner_groups(graph, find_branches(graph), atoms)
    layers = layer_costs(graph, forms)
    sizes = {name: len(members) for name, members in chosen.items()}
    macs = sum(layer.macs(sizes) for layer in layers)
    groups = tuple(
        ChannelGroup(
            name=name,
            kind=members[0].kind,
            size=len(members),
            axes=_axes(members[0], places),
            units=tuple(slices_of(unit, places) for unit in members),
            parameters=_removable(graph, members),
            macs=macs - sum(layer.macs({**sizes, name: 0}) for layer in layers),
            statistics_changing=_changes_statistics(graph.atoms, members),
            branch=branches.get(name),
        )
        for name, members in chosen.items()
    )
    everything = [unit for members in chosen.values() for unit in members]
    return Analysis(
        groups=groups,
        frozen=(*_frozen(graph.opaque), *_unfollowed(units, left_out, places)),
        layers=layers,
        parameters=sum(int(np.prod(labels.shape)) for labels in _parameters(graph).values()),
        prunable_parameters=_removable(graph, everything),
        macs=macs,
        prunable_macs=macs - sum(layer.macs(dict.fromkeys(sizes, 0)) for layer in layers),
        weights=tuple(forms.shape(labels) for labels in _parameters(graph).values()),
        held=_frozen(graph.held),
    )


def slices_of(unit: Unit, places: Places) -> Slices:
    """What a unit takes away: ``{parameter: {dim: indices}}``."""
    found: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for atom in sorted(unit.atoms):
        for name, dim, index in places.get(atom, ()):
            found[name][dim].add(index)
    return {name: {dim: tuple(sorted(at)) for dim, at in dims.items()} for name, dims in found.items()}


def _disjoint(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """Those that share nothing with an earlier one: only so does each of them count once."""
    chosen: list[Unit] = []
    taken: set[int] = set()
    for unit in units:
        if taken.isdisjoint(unit.atoms):
            chosen.append(unit)
            taken |= unit.atoms
    return tuple(chosen)


def _places(graph: LabelledGraph) -> Places:
    places: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for name, labels in graph.parameters.items():
        for layer in labels.layers:
            for index, atom in enumerate(graph.atoms.find(layer.ids).tolist()):
                places[atom].append((name, layer.dims[0], index))
    return places


def _first_place(unit: Unit, places: Places, order: Mapping[str, int]) -> tuple[int, int]:
    return min((order[name], dim) for atom in unit.atoms for name, dim, _ in places.get(atom, ()))


def _axes(unit: Unit, places: Places) -> tuple[Axis, ...]:
    return tuple(Axis(parameter=name, dim=dim) for name, dims in slices_of(unit, places).items() for dim in dims)


def _name(unit: Unit, slices: Slices, order: Mapping[str, int], taken: Mapping[str, object]) -> str:
    """The module that makes the channels: the first whose tensor has them as outputs."""
    ranked = sorted(slices, key=lambda name: (0 not in slices[name], order[name]))
    path = ranked[0].rpartition(".")[0] or ranked[0]
    base = path if unit.kind == "channel" else f"{path} ({unit.kind}s)"
    name, count = base, 2
    while name in taken:
        name, count = f"{base} #{count}", count + 1
    return name


def _ignored(unit: Unit, name: str, places: Places, patterns: Sequence[str]) -> bool:
    names = {name} | {parameter.rpartition(".")[0] for parameter in slices_of(unit, places)}
    return any(fnmatch(candidate, pattern) for candidate in names for pattern in patterns)


def _parameters(graph: LabelledGraph) -> dict[str, Labels]:
    """Labels of the trained parameters, each tensor once."""
    names = (name for name, _ in graph.captured.module.named_parameters())
    return {name: graph.parameters[name] for name in names if name in graph.parameters}


def _removable(graph: LabelledGraph, members: Sequence[Unit]) -> int:
    """How many parameters go when all these units do."""
    gone = np.fromiter({atom for unit in members for atom in unit.atoms}, dtype=np.int64)
    total = 0
    for labels in _parameters(graph).values():
        left = list(labels.shape)
        for layer in labels.layers:
            left[layer.dims[0]] -= int(np.isin(graph.atoms.find(layer.ids), gone).sum())
        total += int(np.prod(labels.shape)) - int(np.prod(left))
    return total


def _changes_statistics(atoms: Atoms, members: Sequence[Unit]) -> bool:
    if not atoms.statistics:
        return False
    touched = set(atoms.find(np.fromiter(atoms.statistics, dtype=np.int64)).tolist())
    return any(touched & unit.atoms for unit in members)


def _frozen(items: Sequence[Opaque]) -> tuple[Frozen, ...]:
    return tuple(
        Frozen(op=item.op, reason=item.reason, location=item.location, parameters=item.parameters) for item in items
    )


def _unfollowed(units: GroupedUnits, names: Collection[str], places: Places) -> tuple[Frozen, ...]:
    return tuple(
        Frozen(
            op=units[name][0].kind,
            reason="the module's own forward cannot follow when these go one by one",
            location=name,
            parameters=tuple(slices_of(units[name][0], places)),
        )
        for name in sorted(names)
    )
