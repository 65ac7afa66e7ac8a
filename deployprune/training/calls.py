"""Calling a model with a batch, and finding the logits in what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deployprune.errors import UsageError

__all__ = ["call", "count_examples", "find_logits"]


def call(module: nn.Module, inputs: Any) -> Tensor:
    """The logits of ``module`` for a tensor, a sequence (positional) or a mapping (keywords) of tensors."""
    if isinstance(inputs, Mapping):
        return find_logits(module(**inputs))
    if isinstance(inputs, tuple | list):
        return find_logits(module(*inputs))
    return find_logits(module(inputs))


def find_logits(output: Any) -> Tensor:
    """The tensor that losses and metrics read: the output itself, its ``logits``, or its first tensor.

    Raises UsageError where the output holds no tensor.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = [output["logits"]] if "logits" in output else list(output.values())
    found = (
        next((item for item in output if isinstance(item, Tensor)), None) if isinstance(output, tuple | list) else None
    )
    if found is None:
        raise UsageError(f"the model gives {type(output).__name__}, in which there are no logits")
    return found


def count_examples(inputs: Any) -> int:
    """How many examples a batch of inputs has."""
    if isinstance(inputs, Tensor):
        return len(inputs)
    return len(next(iter(inputs.values() if isinstance(inputs, Mapping) else inputs)))
