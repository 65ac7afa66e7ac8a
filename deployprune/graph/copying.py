"""Copies of modules, and what a forward may have left behind on them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

__all__ = ["copy_module", "forget"]

M = TypeVar("M", bound=nn.Module)


def copy_module(module: M, replaced: Mapping[int, torch.Tensor] | None = None) -> M:
    """A deep copy; results that the module caches on itself, which torch would not copy, lose their history.

    ``replaced`` gives, by their identity, tensors that the copy has others for.
    """
    memo = {id(tensor): tensor.detach().clone() for part in module.modules() for tensor in _results(vars(part))}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # torch copies its own deprecated class
        return copy.deepcopy(module, {**memo, **(replaced or {})})


def forget(module: nn.Module) -> None:
    """Let modules drop what they keep of their parameters from earlier forwards, as they do where the mode changes.

    The modes are afterwards what they were.
    """
    modes = {part: part.training for part in module.modules()}
    try:
        module.train()
        module.eval()
    except NotImplementedError:  # torch forbids it on its own exported modules, which keep nothing
        return
    for part, mode in modes.items():
        part.training = mode


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
