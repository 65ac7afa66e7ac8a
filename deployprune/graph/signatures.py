"""Signatures: what a unit takes along every dimension of every tensor.

Units of one signature are interchangeable: however many of them go, and whichever, all shapes are the same. So a group
of such units has exact forms, and leaves no tensor empty while one of them stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from deployprune.graph.labels import Ids
from deployprune.graph.units import Unit

__all__ = ["Signature", "signatures"]

# (tensor, axis, how many of its indices the unit takes away)
Signature = tuple[tuple[int, int, int], ...]


def signatures(boxes: Sequence[Ids], units: Sequence[Unit]) -> list[Signature]:
    """The signature of every unit over the ``boxes`` of atoms (their representatives) of all tensors."""
    owners: dict[int, set[int]] = defaultdict(set)
    for position, unit in enumerate(units):
        for atom in unit.atoms:
            owners[atom].add(position)
    taken: list[dict[tuple[int, int], int]] = [defaultdict(int) for _ in units]
    for number, box in enumerate(boxes):
        for axis in range(box.ndim):
            slabs, counts = np.unique(box.swapaxes(0, axis).reshape(box.shape[axis], -1), axis=0, return_counts=True)
            for slab, count in zip(slabs.tolist(), counts.tolist(), strict=True):
                for position in set.intersection(*(owners.get(atom, _NOBODY) for atom in set(slab))):
                    taken[position][number, axis] += count
    return [tuple(sorted((*place, count) for place, count in counts.items())) for counts in taken]


_NOBODY: set[int] = set()
