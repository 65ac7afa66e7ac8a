"""Units: the smallest sets of atoms that can go together, found by closing a seed under what makes removal legal.

A removal is legal when every tensor keeps a box: its kept elements are an outer product of per-dimension choices, no
dimension runs empty, and every block goes exactly when all of it goes. Where a seed in a ``(head, dim)`` tensor can
complete to a row or to a column, both families of units are found.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployprune.graph.atoms import Atoms
from deployprune.graph.labels import KEEP, Ids

__all__ = ["Constraints", "Unit", "find_units"]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Unit:
    """Atoms that go together; ``kind`` is ``channel``, ``head``, ``head dimension`` or ``group``."""

    atoms: frozenset[int]
    kind: str


class Constraints:
    """All boxes and blocks of one model over the representatives of its atoms, and the closure under them.

    A box of one dimension is a ``line``: it only must not run empty.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.tensors: list[Ids] = _distinct(atoms.find(ids) for ids in atoms.seen)
        self.boxes: list[Ids] = [ids for ids in self.tensors if ids.ndim > 1]
        self.lines = sorted((frozenset(ids.tolist()) for ids in self.tensors if ids.ndim == 1), key=len)
        self.blocks: list[tuple[int, frozenset[int], str]] = []
        for link in atoms.links:
            parent = int(atoms.find(np.array([link.parent]))[0])
            children = frozenset(atoms.find(link.children).tolist())
            self.blocks.append((parent, children, link.kind))
        self.boxes_of: dict[int, list[int]] = _index(set(box.ravel().tolist()) for box in self.boxes)
        self.blocks_of: dict[int, list[int]] = _index({parent} | children for parent, children, _ in self.blocks)
        self._gone: Mask = np.zeros(len(atoms), dtype=bool)

    def close(self, seed: Iterable[int], prefer: int = 0) -> frozenset[int] | None:
        """The least legal removal that holds ``seed``; None where it would take something that must stay.

        ``prefer`` breaks ties between completing to a row (0) or along a later dimension.
        """
        removed = set(seed)
        try:
            legal = self._grow(removed, prefer)
        finally:
            self._gone[list(removed)] = False
        return frozenset(removed) if legal and not self._empties(removed) else None

    def _grow(self, removed: set[int], prefer: int) -> bool:
        """Add to ``removed`` what it drags along; False where that is something which must stay."""
        fresh = set(removed)
        while fresh:
            if KEEP in removed:
                return False
            self._gone[list(fresh)] = True
            added: set[int] = set()
            for index in _touched(self.blocks_of, fresh):
                parent, children, _ = self.blocks[index]
                if parent in removed:
                    added |= children
                elif children <= removed:
                    added.add(parent)
            for index in _touched(self.boxes_of, fresh):
                grown = self._complete(self.boxes[index], removed, prefer)
                if grown is None:
                    return False
                added |= grown
            fresh = added - removed
            removed |= fresh
        return True

    def _empties(self, removed: set[int]) -> bool:
        return any(line <= removed for line in itertools.takewhile(lambda line: len(line) <= len(removed), self.lines))

    def _complete(self, box: Ids, removed: set[int], prefer: int) -> set[int] | None:
        gone = self._gone[box]
        if gone.all():
            return None
        kept = ~gone
        bands = [np.asarray(kept.any(axis=_others(box, axis))) for axis in range(box.ndim)]
        stray = gone & _outer(bands)
        if not stray.any():
            return set()
        choices = []
        for axis in range(box.ndim):
            hit = stray.any(axis=_others(box, axis))
            taken = set(np.compress(hit, box, axis=axis).ravel().tolist())
            choices.append((len(taken - removed), (axis - prefer) % box.ndim, taken))
        return min(choices, key=lambda choice: choice[:2])[2]


def find_units(constraints: Constraints, wanted: Iterable[int]) -> list[Unit]:
    """All least units that hold one of the ``wanted`` representatives (of parameters), in the order of their atoms."""
    found: dict[frozenset[int], Unit] = {}
    done: set[tuple[int, int, int]] = set()
    for atom in sorted(set(wanted) - {KEEP}):
        for box, axis in _places(constraints, atom):
            if (box, axis, atom) in done:
                continue
            seed = _seed(constraints, atom, box, axis)
            closed = constraints.close(seed, prefer=max(axis, 0))
            done.update((box, axis, member) for member in closed or seed)
            if closed is not None and closed not in found:
                found[closed] = Unit(closed, _kind(constraints, closed))
    return _minimal(list(found.values()))


def _places(constraints: Constraints, atom: int) -> list[tuple[int, int]]:
    """The boxes and axes along which an atom can go; (-1, -1) where it stands in lines alone."""
    boxes = constraints.boxes_of.get(atom, ())
    return [(index, axis) for index in boxes for axis in range(constraints.boxes[index].ndim)] or [(-1, -1)]


def _seed(constraints: Constraints, atom: int, index: int, axis: int) -> set[int]:
    """The atom's slab along an axis of a box, or the atom itself."""
    if index < 0:
        return {atom}
    box = constraints.boxes[index]
    place = int(np.argmax(box.ravel() == atom))
    return set(box.take(np.unravel_index(place, box.shape)[axis], axis=axis).ravel().tolist())


def _kind(constraints: Constraints, closed: frozenset[int]) -> str:
    blocks = [constraints.blocks[i] for atom in closed for i in constraints.blocks_of.get(atom, ())]
    whole = {kind for parent, children, kind in blocks if parent in closed and len(children) > 1}
    if "head" in whole:
        return "head"
    if "group" in whole:
        return "group"
    return "head dimension" if any(kind == "head" for _, _, kind in blocks) else "channel"


def _minimal(units: list[Unit]) -> list[Unit]:
    """Without the units that contain another one."""
    holders: dict[int, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        for atom in unit.atoms:
            holders[atom].append(index)
    kept = []
    for unit in units:
        near = {index for atom in unit.atoms for index in holders[atom]}
        if not any(units[index].atoms < unit.atoms for index in near):
            kept.append(unit)
    return kept


def _others(box: Ids, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(box.ndim) if a != axis)


def _outer(bands: list[Mask]) -> Mask:
    total = bands[0]
    for band in bands[1:]:
        total = total[..., None] & band
    return total


def _distinct(arrays: Iterable[Ids]) -> list[Ids]:
    seen = {(array.shape, array.tobytes()): array for array in arrays}
    return list(seen.values())


def _touched(index: dict[int, list[int]], atoms: Iterable[int]) -> set[int]:
    return {position for atom in atoms for position in index.get(atom, ())}


def _index(sets: Iterable[set[int] | frozenset[int]]) -> dict[int, list[int]]:
    index: dict[int, list[int]] = defaultdict(list)
    for position, members in enumerate(sets):
        for member in members:
            index[member].append(position)
    return index
