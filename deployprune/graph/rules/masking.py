"""How the masked twin runs one dense call: removed elements are there, and count for nothing.

Each of these is written without regard to how the rule prunes the same call, so that a mistake there shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Keep", "MaskedCall", "Masking", "Operand", "over", "plain", "zeroed"]

# The sorted indices that stay along one dimension; None where all do.
Keep = torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Operand:
    """A dense tensor and what stays of it along every dimension."""

    tensor: torch.Tensor
    keeps: Sequence[Keep]

    def zeroed(self) -> torch.Tensor:
        """The dense tensor with zeros where it is removed."""
        tensor = self.tensor
        for dim, keep in enumerate(self.keeps):
            if keep is not None and (tensor.is_floating_point() or tensor.is_complex()):
                stays = torch.zeros(tensor.shape[dim], dtype=torch.bool)
                stays[keep] = True
                tensor = torch.where(stays.reshape([-1 if d == dim else 1 for d in range(tensor.ndim)]), tensor, 0)
        return tensor

    def compact(self, dims: Iterable[int]) -> torch.Tensor:
        """What stays along ``dims``, everything along the others."""
        tensor = self.tensor
        for dim in dims:
            keep = self.keeps[dim]
            tensor = tensor if keep is None else tensor.index_select(dim, keep)
        return tensor

    def spread(self, part: torch.Tensor, dims: Iterable[int]) -> torch.Tensor:
        """What was computed on :meth:`compact` in its places again, zeros elsewhere."""
        for dim in dims:
            keep = self.keeps[dim]
            if keep is not None:
                shape = [self.tensor.shape[d] if d == dim else size for d, size in enumerate(part.shape)]
                part = torch.zeros(shape, dtype=part.dtype).index_copy(dim, keep, part)
        return part


@dataclass(frozen=True, slots=True)
class MaskedCall:
    """One operation as the twin runs it: arguments by their schema names, tensors as :class:`Operand`."""

    op: Any
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The argument, or ``default`` where the schema has none of that name."""
        return self.arguments.get(name, default)

    def run(self, convert: Callable[[Operand], torch.Tensor], /, **changed: Any) -> Any:
        """The operation, every operand converted, but for the arguments that are given anew."""
        return self.op(**{name: _convert(value, convert) for name, value in {**self.arguments, **changed}.items()})


Masking = Callable[[MaskedCall], Any]


def _convert(value: Any, convert: Callable[[Operand], torch.Tensor]) -> Any:
    if isinstance(value, Operand):
        return convert(value)
    if isinstance(value, list | tuple):
        return [_convert(item, convert) for item in value]
    return value


def plain(call: MaskedCall) -> Any:
    """Every kept element depends on kept elements alone: nothing has to be masked."""
    return call.run(lambda operand: operand.tensor)


def zeroed(call: MaskedCall) -> Any:
    """The operation sums: what is removed adds nothing."""
    return call.run(Operand.zeroed)


def over(name: str, dims: Callable[[MaskedCall, Operand], Iterable[int]], *, reduces: bool = False) -> Masking:
    """Statistics of operand ``name`` along ``dims`` are those of what stays; the result is dense along the others."""

    def run(call: MaskedCall) -> Any:
        operand: Operand = call[name]
        along = sorted(dims(call, operand))
        result = call.run(lambda other: other.tensor, **{name: operand.compact(along)})
        return result if reduces else operand.spread(result, along)

    return run
