"""Labels: which elements of a tensor live and die together.

Every element that carries a channel identity has an *atom*, an integer. Atoms that must be kept or removed together
are united (union-find); atom ``KEEP`` is never removed. A tensor's labels are a few *layers*: each layer gives an atom
to every index along the dimensions that it varies over, and an element stays only while its atom in *every* layer
stays. So a weight ``(out, in, k, k)`` has two layers, one along ``out`` and one along ``in``, and takes ``out + in``
integers of memory; an activation viewed as ``(batch, head, token, dim)`` has one layer over ``(head, dim)``.

Some atoms stand for a whole block of others (a head, a convolution's group): a :class:`Link` says that the parent is
removed exactly when all its children are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["KEEP", "Ids", "Kinds", "Labels", "Layer", "Link", "Span"]

KEEP = 0
Ids = npt.NDArray[np.int64]
Kinds = Mapping[tuple[int, ...], str]


@dataclass(frozen=True, slots=True)
class Layer:
    """Atoms along ``dims`` (ascending): ``ids`` has one axis a dimension, and varies along each of them."""

    dims: tuple[int, ...]
    ids: Ids

    def moved(self, mapping: dict[int, int]) -> Layer:
        """The same layer with its dimensions renumbered."""
        dims = [mapping[dim] for dim in self.dims]
        order = np.argsort(dims)
        return Layer(tuple(dims[i] for i in order), self.ids.transpose(order))


@dataclass(frozen=True, slots=True)
class Labels:
    """A tensor's shape and its layers; a dimension that no layer varies over cannot be pruned."""

    shape: tuple[int, ...]
    layers: tuple[Layer, ...] = ()

    def expanded(self, layer: Layer) -> torch.Tensor:
        """The layer's atoms as a tensor of the full shape, without copying (stride 0 where it does not vary)."""
        view = [self.shape[dim] if dim in layer.dims else 1 for dim in range(len(self.shape))]
        return torch.tensor(layer.ids).reshape(view).expand(self.shape)


@dataclass(frozen=True, slots=True)
class Link:
    """``parent`` goes exactly when all ``children`` do; ``kind`` names the parent: ``head``, ``group``, ``channel``."""

    parent: int
    children: Ids
    kind: str


@dataclass(frozen=True, slots=True)
class Span:
    """Layers over named dimensions of a computation, and the dimensions in which the operand is not broadcast."""

    layers: tuple[Layer, ...]
    real: frozenset[int]

    @property
    def covered(self) -> frozenset[int]:
        """The dimensions that some layer varies over."""
        return frozenset(dim for layer in self.layers for dim in layer.dims)
