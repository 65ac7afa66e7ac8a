"""Every dimension as a function of the group widths: the forms that latency and MACs are computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import Ids, Labels
from deployprune.records import DimForm

__all__ = ["Forms"]


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
