"""Data sets that hand out whole batches at once: tensors are indexed, not collated example by example."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from deployprune.sources.callables import running

__all__ = ["ArrayDataset", "CollatedDataset", "Normalization", "StreamDataset", "split_batch", "subset"]

_END = object()


@dataclass(frozen=True, slots=True)
class Normalization:
    """Mean and standard deviation a channel, on the scale of [0, 1]; one value stands for all channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise a batch in place; shape (N, C, ...)."""
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return x.sub_(torch.tensor(self.mean).view(shape)).div_(torch.tensor(self.std).view(shape))


class ArrayDataset(Dataset[Any]):
    """All examples in two tensors in memory: ``x`` (N, ...) as bytes or floats, ``y`` (N,) or None.

    Bytes become floats in [0, 1] when a batch is taken, so that memory holds a quarter.
    """

    def __init__(self, x: Tensor, y: Tensor | None, normalize: Normalization | None = None) -> None:
        self.x = x
        self.y = y
        self.normalize = normalize

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        x, y = split_batch(self.__getitems__([index]))
        return x[0] if y is None else (x[0], int(y[0]))

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """The batch of these examples."""
        chosen = torch.as_tensor(indices)
        x = self.x[chosen]
        if x.dtype == torch.uint8:
            x = x.to(torch.float32).div_(255)
        if self.normalize:
            x = self.normalize(x)
        return x if self.y is None else (x, self.y[chosen])


class CollatedDataset(Dataset[Any]):
    """Somebody's map-style data set with its own way of making a batch of examples; ``name`` names it in errors."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any], name: str) -> None:
        self.dataset = dataset
        self.collate = collate
        self.name = name

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # every map-style data set has a length

    def __getitem__(self, index: int) -> Any:
        with running(f"{self.name} failed to give example {index}"):
            return self.dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """The batch of these examples."""
        examples = [self[index] for index in indices]
        with running(f"{self.name} failed to make a batch of {len(indices)} examples"):
            return self.collate(examples)


class StreamDataset(IterableDataset[Any]):
    """Somebody's loader that can only be iterated: its batches are taken as they come; ``name`` names it in errors."""

    def __init__(self, batches: Iterable[Any], name: str) -> None:
        self.batches = batches
        self.name = name

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # checked where the stream is taken in

    def __iter__(self) -> Iterator[Any]:
        with running(f"{self.name} failed to begin"):
            batches = iter(self.batches)
        for number in count(1):
            with running(f"{self.name} failed to give batch {number}"):
                batch = next(batches, _END)
            if batch is _END:
                return
            yield batch


def subset(dataset: Any, indices: Sequence[int]) -> Any:
    """The part of a data set with these examples, itself one that hands out whole batches."""
    if isinstance(dataset, ArrayDataset):
        chosen = torch.as_tensor(indices)
        return ArrayDataset(dataset.x[chosen], None if dataset.y is None else dataset.y[chosen], dataset.normalize)
    return Subset(dataset, list(indices))


def split_batch(batch: Any) -> tuple[Tensor, Tensor | None]:
    """A batch as inputs and labels: ``(x, y)``, ``(x,)`` or ``x`` alone (labels None)."""
    if isinstance(batch, Tensor):
        return batch, None
    return batch[0], (batch[1] if len(batch) > 1 else None)
