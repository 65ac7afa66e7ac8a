"""Union-find over whole numbers, many at a time (Tarjan 1975): which of them are one class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployprune.graph.labels import Ids

__all__ = ["UnionFind"]


class UnionFind:
    """Classes of numbers, each known by its least member; number 0 is there from the beginning."""

    def __init__(self) -> None:
        self._parent: Ids = np.arange(1024, dtype=np.int64)
        self._count = 1

    def __len__(self) -> int:
        return self._count

    def fresh(self, shape: int | Sequence[int]) -> Ids:
        """New numbers, each its own class."""
        size = int(np.prod(shape))
        while self._count + size > len(self._parent):
            self._parent = np.concatenate([self._parent, np.arange(len(self._parent), 2 * len(self._parent))])
        ids = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        return ids.reshape(shape)

    def find(self, ids: Ids) -> Ids:
        """The representative of every number in ``ids``."""
        roots = self._parent[ids]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                return roots
            roots = above

    def unite(self, left: Ids, right: Ids) -> None:
        """Make ``left[i]`` and ``right[i]`` one class, for every ``i`` (the arrays broadcast)."""
        pairs = np.unique(np.stack([array.ravel() for array in np.broadcast_arrays(left, right)], axis=1), axis=0)
        for a, b in pairs.tolist():
            low, high = sorted((self._root(a), self._root(b)))
            self._parent[high] = low

    def count_in(self, root: int) -> int:
        """How many numbers have this representative, as far as their paths are known: it grows with the class."""
        return int(np.count_nonzero(self._parent[: self._count] == root))

    def _root(self, number: int) -> int:
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number
