"""The user's own module, shrunk in place: same class, same parameter names, smaller tensors.

Code that reads sizes from its tensors adapts by itself. Where a forward uses sizes kept as attributes, those of the
modules that ran the changed calls are set to the new sizes. Nothing here is believed: :mod:`deployprune.graph.proof`
accepts the result only when its outputs equal those of the pruned graph.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn

from deployprune.graph.removal import Removal, kept_parameters
from deployprune.graph.surgery import slice_parameters

__all__ = ["candidates", "patch"]

Attributes = dict[str, int | tuple[int, ...]]


def candidates(module: nn.Module, removal: Removal) -> Iterator[tuple[nn.Module, Attributes]]:
    """Shrunk copies of ``module`` to try, with the attributes that each has changed: stock layers first, then more."""
    kept = kept_parameters(removal)
    base = copy.deepcopy(module)
    slice_parameters(base, {name: dims for name, dims in kept.items() if _has(base, name)})
    stock = _stock_attributes(base)
    patch(base, stock)
    yield base, stock
    guessed = {**_called_attributes(module, removal), **stock}
    if guessed != stock:
        other = copy.deepcopy(base)
        patch(other, guessed)
        yield other, guessed


def patch(module: nn.Module, attributes: Attributes) -> None:
    """Set ``{"path.name": value}``: how a saved record makes the same module again."""
    for path, value in attributes.items():
        owner, _, name = path.rpartition(".")
        setattr(module.get_submodule(owner), name, value)


def _has(module: nn.Module, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    try:
        return hasattr(module.get_submodule(owner), leaf)
    except AttributeError:
        return False


def _stock_attributes(module: nn.Module) -> Attributes:
    """The sizes that torch's own layers keep beside their parameters."""
    found: Attributes = {}
    for path, part in module.named_modules():
        for name, value in _sizes(part).items():
            if getattr(part, name) != value:
                found[f"{path}.{name}" if path else name] = value
    return found


def _sizes(part: nn.Module) -> dict[str, int | tuple[int, ...]]:
    weight = getattr(part, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return {}
    shape = tuple(weight.shape)
    if isinstance(part, nn.modules.conv._ConvTransposeNd | nn.modules.conv._ConvNd):
        return _conv_sizes(part, shape)
    if isinstance(part, nn.Linear):
        return {"out_features": shape[0], "in_features": shape[1]}
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return {"num_features": shape[0]}
    if isinstance(part, nn.LayerNorm | nn.RMSNorm):
        return {"normalized_shape": shape}
    if isinstance(part, nn.GroupNorm):
        members = part.num_channels // part.num_groups
        # Whole groups went when the members of one still divide the channels; otherwise each group lost alike.
        return {"num_channels": shape[0], "num_groups": _groups_left(part.num_groups, members, shape[0])}
    if isinstance(part, nn.Embedding):
        return {"num_embeddings": shape[0], "embedding_dim": shape[1]}
    if isinstance(part, nn.PReLU):
        return {"num_parameters": shape[0]}
    return {}


def _groups_left(groups: int, members: int, channels: int) -> int:
    if channels % groups == 0:
        return groups
    return channels // members if channels % members == 0 else groups


def _conv_sizes(part: nn.modules.conv._ConvNd, shape: tuple[int, ...]) -> dict[str, int | tuple[int, ...]]:
    """Groups follow from the weight: a grouped kernel keeps its slice per group, a depthwise one its single channel."""
    groups, outer, inner = part.groups, part.out_channels // part.groups, part.in_channels // part.groups
    first, second = shape[0], shape[1]
    if part.transposed:
        if groups > 1:
            groups = first // inner if first % inner == 0 and (second == outer or first % groups) else groups
        return {"in_channels": first, "out_channels": second * groups, "groups": groups}
    if groups > 1:
        groups = first // outer if first % outer == 0 and (second == inner or first % groups) else groups
    return {"in_channels": second * groups, "out_channels": first, "groups": groups}


def _called_attributes(module: nn.Module, removal: Removal) -> Attributes:
    """Whole-number attributes equal to a size that changed in a call which their module made."""
    changes: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for node in removal.graph.captured.module.graph.nodes:
        for labels in removal.graph.results(node):
            for size, keep in zip(labels.shape, removal.keeps(labels), strict=True):
                for path in _paths(node):
                    changes[path][size].add(size if keep is None else len(keep))
    found: Attributes = {}
    for path, sizes in changes.items():
        try:
            part = module.get_submodule(path)
        except AttributeError:
            continue
        for name, value in vars(part).items():
            new = _replaced(value, sizes)
            if new is not None:
                found[f"{path}.{name}" if path else name] = new
    return found


def _replaced(value: Any, sizes: dict[int, set[int]]) -> int | tuple[int, ...] | None:
    """The new value of a size attribute; None where it is no size or did not change."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        smaller = {new for new in sizes.get(value, ()) if new != value}
        return smaller.pop() if len(smaller) == 1 else None
    if isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
        items = tuple(_replaced(item, sizes) or item for item in value)
        return items if items != value else None
    return None


def _paths(node: fx.Node) -> list[str]:
    return [str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
