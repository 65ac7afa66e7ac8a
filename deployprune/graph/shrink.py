"""The user's own module, shrunk: same class, same parameter names, smaller tensors, sizes of stock layers set right.

What the user's own forward keeps as attributes is found by :mod:`deployprune.graph.fitting`.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import torch
from torch import fx, nn

from deployprune.graph.copying import copy_module, forget
from deployprune.graph.origin import module_of
from deployprune.graph.removal import Removal, kept_parameters
from deployprune.graph.rules import operation_name
from deployprune.graph.rules.base import bind
from deployprune.graph.surgery import sliced_tensors

__all__ = ["Attributes", "has_tensor", "patch", "shrink"]

Size = int | tuple[int, ...]
Attributes = dict[str, Size]
# What calls of the pruned graph were given, by the path of the module that made them.
Given = dict[str, dict[str, Size]]

# The arguments that tell sizes of norms, which may have no parameters.
_TOLD = {"group_norm": "num_groups", "layer_norm": "normalized_shape", "rms_norm": "normalized_shape"}


def shrink(module: nn.Module, removal: Removal, pruned: fx.GraphModule) -> tuple[nn.Module, Attributes]:
    """A copy of ``module`` with sliced parameters, its stock layers' sizes set, and these sizes by their paths.

    What only a branch that is left out used is None in it, as torch spells a parameter that a layer has not.
    """
    kept = {name: dims for name, dims in kept_parameters(removal).items() if has_tensor(module, name)}
    small = copy_module(module, sliced_tensors(module, kept))
    for name in (name for branch in removal.skipped for name in branch.parameters):
        owner, _, leaf = name.rpartition(".")
        setattr(small.get_submodule(owner), leaf, None)
    forget(small)
    attributes = _stock_attributes(small, _given(pruned))
    patch(small, attributes)
    return small, attributes


def patch(module: nn.Module, attributes: Attributes) -> None:
    """Set ``{"path.name": value}``: how a saved record makes the same module again.

    A path may lead into an object that is no module, such as a configuration; that module then gets a copy of it.
    """
    for path, value in attributes.items():
        owner: Any = module
        *way, name = path.split(".")
        for step in way:
            inner = getattr(owner, step)
            if not isinstance(inner, nn.Module):
                inner = copy.copy(inner)
                setattr(owner, step, inner)
            owner = inner
        setattr(owner, name, value)


def has_tensor(module: nn.Module, name: str) -> bool:
    """Whether ``module`` has a parameter or buffer of this name."""
    owner, _, leaf = name.rpartition(".")
    try:
        return isinstance(getattr(module.get_submodule(owner), leaf, None), torch.Tensor)
    except AttributeError:
        return False


def _given(pruned: fx.GraphModule) -> Given:
    """Group counts of convolutions and group norms, and shapes of layer norms, after surgery."""
    given: Given = defaultdict(dict)
    for node in pruned.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            arguments = bind(node.target, node.args, dict(node.kwargs))
            name = _TOLD.get(operation_name(node.target), "groups")
            value = arguments.get(name)
            if isinstance(value, int | list | tuple):
                given[module_of(node)][name] = value if isinstance(value, int) else tuple(value)
    return given


def _stock_attributes(module: nn.Module, given: Given) -> Attributes:
    """The sizes that torch's own layers keep beside their parameters."""
    found: Attributes = {}
    for path, part in module.named_modules():
        for name, value in _sizes(part, given.get(path, {})).items():
            if getattr(part, name) != value:
                found[f"{path}.{name}" if path else name] = value
    return found


def _sizes(part: nn.Module, given: dict[str, Size]) -> dict[str, Size]:
    if isinstance(part, nn.RNNBase | nn.RNNCellBase):
        return _recurrent_sizes(part)
    weight = getattr(part, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return given if isinstance(part, nn.GroupNorm | nn.LayerNorm | nn.RMSNorm) else {}
    shape = tuple(weight.shape)
    if isinstance(part, nn.modules.conv._ConvNd):
        groups = given.get("groups", part.groups)
        outer, inner = (shape[1] * groups, shape[0]) if part.transposed else (shape[0], shape[1] * groups)
        return {"in_channels": inner, "out_channels": outer, "groups": groups}
    if isinstance(part, nn.Linear):
        return {"out_features": shape[0], "in_features": shape[1]}
    if isinstance(part, nn.modules.batchnorm._NormBase):
        return {"num_features": shape[0]}
    if isinstance(part, nn.LayerNorm | nn.RMSNorm):
        return {"normalized_shape": shape}
    if isinstance(part, nn.GroupNorm):
        return {"num_channels": shape[0], "num_groups": given.get("num_groups", part.num_groups)}
    if isinstance(part, nn.Embedding):
        return {"num_embeddings": shape[0], "embedding_dim": shape[1]}
    if isinstance(part, nn.PReLU):
        return {"num_parameters": shape[0]}
    return {}


def _recurrent_sizes(part: nn.RNNBase | nn.RNNCellBase) -> dict[str, Size]:
    """What goes in, and what comes back: an LSTM that projects its hidden state knows that by its own name."""
    last = "_l0" if isinstance(part, nn.RNNBase) else ""
    inner, outer = getattr(part, f"weight_ih{last}"), getattr(part, f"weight_hh{last}")
    back = "proj_size" if getattr(part, "proj_size", 0) else "hidden_size"
    return {"input_size": inner.shape[1], back: outer.shape[1]}
