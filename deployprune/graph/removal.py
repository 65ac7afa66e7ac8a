"""A removal: a legal set of removed atoms, and what it leaves of every tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch

from deployprune.graph.branches import Branch
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import Ids, Labels
from deployprune.graph.rules.masking import Keep
from deployprune.graph.units import Constraints

__all__ = ["Removal", "close_removal", "kept_parameters"]


@dataclass(frozen=True, slots=True)
class Removal:
    """The representatives of all removed atoms of one labelled graph, and the branches that are left out whole."""

    graph: LabelledGraph
    removed: Ids
    skipped: tuple[Branch, ...] = ()
    _known: dict[int, list[Keep]] = field(default_factory=dict, compare=False, repr=False)

    def keeps(self, labels: Labels) -> list[Keep]:
        """Per dimension the sorted indices that stay, or None where all do; ``labels`` are ones of the graph."""
        if id(labels) not in self._known:
            self._known[id(labels)] = self._find_keeps(labels)
        return self._known[id(labels)]

    def _find_keeps(self, labels: Labels) -> list[Keep]:
        kept = [np.ones(size, dtype=bool) for size in labels.shape]
        removed = np.zeros(len(self.graph.atoms), dtype=bool)
        removed[self.removed] = True
        for layer in labels.layers:
            gone = removed[self.graph.atoms.find(layer.ids)]
            for axis, dim in enumerate(layer.dims):
                rest = tuple(a for a in range(gone.ndim) if a != axis)
                kept[dim] &= ~gone.all(axis=rest)
        return [None if stay.all() else torch.from_numpy(np.flatnonzero(stay)) for stay in kept]


def close_removal(graph: LabelledGraph, gone: Iterable[int], skipped: tuple[Branch, ...] = ()) -> Removal | None:
    """The least legal removal that takes these atoms; None where a tensor would be left empty."""
    atoms = set(gone)
    closed = Constraints(graph.atoms).close(atoms) if atoms else frozenset[int]()
    return None if closed is None else Removal(graph, np.fromiter(sorted(closed), dtype=np.int64), skipped)


def kept_parameters(removal: Removal) -> dict[str, dict[int, tuple[int, ...]]]:
    """What stays of every parameter and buffer that loses something: ``{name: {dim: indices}}``."""
    kept: dict[str, dict[int, tuple[int, ...]]] = {}
    for name, labels in removal.graph.parameters.items():
        dims = {dim: tuple(keep.tolist()) for dim, keep in enumerate(removal.keeps(labels)) if keep is not None}
        if dims:
            kept[name] = dims
    return kept
