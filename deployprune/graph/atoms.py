"""The atoms of one model: which are one class, which stand for blocks of others, and how labels are combined."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType

import numpy as np
import torch

from deployprune.graph.labels import KEEP, Ids, Kinds, Labels, Layer, Link, Span
from deployprune.graph.union_find import UnionFind

__all__ = ["Atoms"]

NO_KINDS: Kinds = MappingProxyType({})


class Atoms(UnionFind):
    """All atoms of one model: their classes, the links between them, and every layer that was ever formed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[Link] = []
        self.seen: list[Ids] = []
        self.statistics: set[int] = set()
        self._blocks: dict[tuple[bytes, tuple[int, ...], tuple[int, ...]], Ids] = {}

    def count_kept(self) -> int:
        """A number that grows whenever more atoms are frozen."""
        return self.count_in(KEEP)

    def freeze(self, ids: Ids) -> None:
        """Never remove these atoms."""
        self.unite(ids, np.int64(KEEP) * np.ones(1, dtype=np.int64))

    def freeze_labels(self, labels: Labels) -> None:
        """Never remove anything of this tensor."""
        for layer in labels.layers:
            self.freeze(layer.ids)

    def mark_statistics(self, layers: Iterable[Layer]) -> None:
        """Say that a normalisation or reduction runs over these atoms."""
        for layer in layers:
            self.statistics.update(layer.ids.ravel().tolist())

    # ------------------------------------------------------------------------------------------------ layers

    def layer(self, dims: Sequence[int], ids: Ids) -> Layer | None:
        """A layer without the dimensions along which ``ids`` does not vary.

        What is left without any dimension cannot be removed by itself, so its atom is kept.
        """
        if not ids.size:
            return None
        kept = []
        for axis, dim in enumerate(dims):
            first = ids.take([0], axis=axis)
            if ids.shape[axis] > 1 and not np.array_equal(np.broadcast_to(first, ids.shape), ids):
                kept.append((axis, dim))
        index = tuple(slice(None) if any(axis == k for k, _ in kept) else 0 for axis in range(ids.ndim))
        reduced = ids[index]
        if not kept:
            self.freeze(np.atleast_1d(reduced))
            return None
        if not reduced.any():
            return None
        self.seen.append(reduced)
        return Layer(tuple(dim for _, dim in kept), reduced)

    def layers(self, parts: Iterable[tuple[Sequence[int], Ids]]) -> tuple[Layer, ...]:
        """Several layers, the empty ones left out."""
        return tuple(layer for dims, ids in parts if (layer := self.layer(dims, ids)) is not None)

    def parameter(self, shape: Sequence[int]) -> Labels:
        """Labels of a parameter, buffer or constant: fresh atoms along each of its dimensions."""
        parts = [((dim,), self.fresh(size)) for dim, size in enumerate(shape) if size > 1 and 0 not in shape]
        return Labels(tuple(shape), self.layers(parts))

    def read(self, tensor: torch.Tensor) -> Layer | None:
        """The layer that a tensor of atoms holds."""
        index = tuple(
            slice(None) if tensor.shape[dim] > 1 and tensor.stride(dim) != 0 else slice(0, 1)
            for dim in range(tensor.ndim)
        )
        return self.layer(range(tensor.ndim), tensor[index].numpy())

    def move(self, labels: Labels, operation: Callable[[torch.Tensor], torch.Tensor], shape: Sequence[int]) -> Labels:
        """Labels after a movement operation, which is run literally on every layer's atoms.

        Layers over different dimensions that come to lie along one are joined first.
        """
        moved = [self.read(operation(labels.expanded(layer))) for layer in labels.layers]
        for left, right in itertools.combinations(range(len(moved)), 2):
            a, b = moved[left], moved[right]
            if a is not None and b is not None and set(a.dims) & set(b.dims):
                pair = (labels.layers[left], labels.layers[right])
                if not set(pair[0].dims) & set(pair[1].dims):
                    others = [layer for layer in labels.layers if layer not in pair]
                    return self.move(Labels(labels.shape, (self.join(*pair), *others)), operation, shape)
        return Labels(tuple(shape), tuple(layer for layer in moved if layer is not None))

    def join(self, left: Layer, right: Layer, kinds: Kinds = NO_KINDS) -> Layer:
        """One layer in place of two that share no dimension: an atom of each is a block of the new ones."""
        dims = tuple(sorted((*left.dims, *right.dims)))
        sizes = dict(zip((*left.dims, *right.dims), (*left.ids.shape, *right.ids.shape), strict=True))
        ids = self.fresh([sizes[dim] for dim in dims])
        for layer in (left, right):
            axes = [dims.index(dim) for dim in layer.dims]
            rest = [axis for axis in range(ids.ndim) if axis not in axes]
            blocks = ids.transpose(axes + rest).reshape(layer.ids.size, -1)
            for parent, children in zip(layer.ids.ravel().tolist(), blocks, strict=True):
                self.links.append(Link(parent, children, kinds.get(layer.dims, "channel")))
        self.seen.append(ids)
        return Layer(dims, ids)

    def stiffen(self, layers: Iterable[Layer], dims: frozenset[int]) -> tuple[Layer, ...]:
        """The layers once removal along ``dims`` is ruled out: atoms along these dimensions are united."""
        parts: list[tuple[Sequence[int], Ids]] = []
        for layer in layers:
            ids = layer.ids
            for axis, dim in enumerate(layer.dims):
                if dim in dims:
                    first = ids.take([0], axis=axis)
                    self.unite(first, ids)
                    ids = np.broadcast_to(first, ids.shape)
            parts.append((layer.dims, ids))
        return self.layers(parts)

    def block(self, layer: Layer, dims: Sequence[int], kinds: Kinds) -> Ids:
        """Atoms along ``dims`` (a subset of the layer's) that stand for the layer's blocks of atoms.

        ``kinds`` says what a block along given dimensions is called; ``head`` where it says nothing.
        """
        if tuple(dims) == layer.dims:
            return layer.ids
        key = (layer.ids.tobytes(), layer.dims, tuple(dims))
        if key not in self._blocks:
            axes = [layer.dims.index(dim) for dim in dims]
            rest = [axis for axis in range(layer.ids.ndim) if axis not in axes]
            ids = layer.ids.transpose(axes + rest)
            shape = ids.shape[: len(axes)]
            parents = self.fresh(shape)
            for parent, children in zip(parents.ravel(), ids.reshape(parents.size, -1), strict=True):
                self.links.append(Link(int(parent), np.unique(children), kinds.get(tuple(dims), "head")))
            self._blocks[key] = parents
        return self._blocks[key]

    # ------------------------------------------------------------------------------------- operands that meet

    def meet(self, left: Span, right: Span, kinds: Kinds = NO_KINDS) -> Span:
        """Labels of an element-wise operation over shared dimensions.

        Where one operand is really there but cannot be pruned, the other cannot either; where both vary over the same
        dimensions their atoms unite, directly or as blocks.
        """
        a_layers = self.stiffen(left.layers, right.real - right.covered)
        b_layers = self.stiffen(right.layers, left.real - left.covered)
        for a in a_layers:
            for b in b_layers:
                shared = [dim for dim in a.dims if dim in b.dims]
                if shared:
                    self.unite(self.block(a, shared, kinds), self.block(b, shared, kinds))
        # What met a layer over the same dimensions or more is said by that one already.
        a_left = [a for a in a_layers if not any(set(a.dims) < set(b.dims) for b in b_layers)]
        b_left = [b for b in b_layers if not any(set(b.dims) <= set(a.dims) for a in a_layers)]
        return Span((*a_left, *b_left), left.real | right.real)

    def total(self, span: Span, dims: frozenset[int], kinds: Kinds = NO_KINDS) -> Span:
        """Labels after a sum over ``dims``: what is summed away is free to go, blocks of it stay as their parents."""
        parts: list[tuple[Sequence[int], Ids]] = []
        for layer in span.layers:
            left = [dim for dim in layer.dims if dim not in dims]
            if left:
                parts.append((left, self.block(layer, left, kinds)))
        layers = self.layers(parts)
        told = [layer for layer in layers if not any(self._tells(other, layer, kinds) for other in layers)]
        return Span(tuple(told), span.real - dims)

    def _tells(self, wide: Layer, narrow: Layer, kinds: Kinds) -> bool:
        """Whether blocks of ``wide`` are what ``narrow`` holds, so that ``narrow`` says nothing more."""
        if not set(narrow.dims) < set(wide.dims):
            return False
        return np.array_equal(self.find(self.block(wide, narrow.dims, kinds)), self.find(narrow.ids))
