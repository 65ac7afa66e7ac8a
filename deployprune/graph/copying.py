"""Copies of modules, whatever a forward may have left behind on them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["copy_module"]

M = TypeVar("M", bound=nn.Module)


def copy_module(module: M, replaced: Mapping[int, torch.Tensor] | None = None) -> M:
    """A deep copy; results that the module caches on itself, which torch would not copy, lose their history.

    ``replaced`` gives, by their identity, tensors that the copy has others for.
    """
    memo = {id(tensor): tensor.detach().clone() for part in module.modules() for tensor in _results(vars(part))}
    return copy.deepcopy(module, {**memo, **(replaced or {})})


def _results(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _results(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _results(item)
