"""Tensors that the captured graph does not read, but the user's forward does.

Mask tokens are read only where the model trains, and of auxiliary heads nothing may be given out; yet they must shrink
with what they are added to, written over or read from. So the forward is traced once more as it trains: what a tensor's
elements share an atom with in that trace says where they belong in the captured graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from deployprune.graph.capture import Captured, flatten_outputs
from deployprune.graph.copying import copy_module
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.labels import KEEP, Labels
from deployprune.graph.propagate import propagate
from deployprune.graph.training_form import is_view
from deployprune.graph.training_run import apart, doubled

__all__ = ["label_unread"]

# For every class of atoms of the training trace, the classes of the captured graph's that it holds.
Meanings = Mapping[int, set[int]]


def label_unread(module: nn.Module, graph: LabelledGraph) -> None:
    """Label, in ``graph``, the tensors that it does not read but a training forward of ``module`` does.

    What such a forward does not tell about stays without labels, and so as large as it is.
    """
    names = _unread(graph)
    if not names or isinstance(module, fx.GraphModule):
        return
    trained = copy_module(module).train()
    traced = _trace(trained, graph.captured, {name.rpartition(".")[0] for name in names})
    if traced is None:
        return
    seen = propagate(traced)
    labels = _by_name(trained, seen)
    meanings = _meanings(graph, seen, labels)
    for name in names:
        if name in labels:
            graph.parameters[name] = _translated(graph, seen, labels[name], meanings)


def _unread(graph: LabelledGraph) -> list[str]:
    module = graph.captured.module
    named = [*module.named_parameters(), *module.named_buffers()]
    return [name for name, tensor in named if name not in graph.parameters and tensor.is_floating_point()]


def _trace(module: nn.Module, captured: Captured, used: Iterable[str]) -> Captured | None:
    """The calls of one forward, as they came; None where it fails, or hides where it writes to.

    What modules at the paths ``used`` compute stays in it, although nobody may read it: a sum holds nothing in place.
    """
    leaves, spec = torch.utils._pytree.tree_flatten(doubled(captured))
    places = [index for index, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    def forward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        given = [*leaves]
        for index, tensor in zip(places, tensors, strict=True):
            given[index] = tensor
        outputs = flatten_outputs(module(*torch.utils._pytree.tree_unflatten(given, spec)))
        return [*outputs, *ends]

    def keep(_module: nn.Module, _args: Any, output: Any) -> None:
        ends.extend(tensor.sum() for tensor in flatten_outputs(output) if tensor.is_floating_point())

    ends: list[torch.Tensor] = []
    for path in used:
        module.get_submodule(path).register_forward_hook(keep)
    inputs = tuple(leaves[index].clone() for index in places)
    try:
        with torch.no_grad(), apart():
            traced = make_fx(forward, pre_dispatch=True, _error_on_data_dependent_ops=False)(*inputs)
    except Exception:  # the user's forward: it may need targets to train
        return None
    return None if any(map(_writes_through_view, traced.graph.nodes)) else Captured(traced, inputs, False)


def _writes_through_view(node: fx.Node) -> bool:
    """Whether a call changes memory that another value, which no later call names, shares."""
    if not getattr(getattr(node.target, "_schema", None), "is_mutable", False):
        return False
    target = node.args[0]
    while isinstance(target, fx.Node) and is_view(target):
        target = target.args[0]
        if isinstance(target, fx.Node) and len(target.users) > 1:
            return True
    return False


def _by_name(module: nn.Module, seen: LabelledGraph) -> dict[str, Labels]:
    """The labels that a trace of ``module`` gives its tensors, which the trace numbers, by their own names."""
    traced = seen.captured.module
    labels = {id(getattr(traced, name)): found for name, found in seen.parameters.items()}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: labels[id(tensor)] for name, tensor in named if id(tensor) in labels}


def _meanings(graph: LabelledGraph, seen: LabelledGraph, labels: Mapping[str, Labels]) -> Meanings:
    meanings: dict[int, set[int]] = defaultdict(set)
    for name in labels.keys() & graph.parameters.keys():
        known = {layer.dims: layer.ids for layer in graph.parameters[name].layers}
        for layer in labels[name].layers:
            if layer.dims in known:
                pairs = zip(
                    seen.atoms.find(layer.ids).tolist(), graph.atoms.find(known[layer.dims]).tolist(), strict=True
                )
                for there, here in pairs:
                    meanings[there].add(here)
    return meanings


def _translated(graph: LabelledGraph, seen: LabelledGraph, labels: Labels, meanings: Meanings) -> Labels:
    """Labels of the captured graph in the place of the trace's; what training joins lives and dies together."""

    def meaning(atom: int) -> int:
        found = sorted(meanings.get(atom, ())) if atom != KEEP else []
        for other in found[1:]:
            graph.atoms.unite(np.array(found[:1]), np.array([other]))
        return found[0] if found else KEEP

    parts = [
        (layer.dims, np.array([meaning(atom) for atom in seen.atoms.find(layer.ids).tolist()], dtype=np.int64))
        for layer in labels.layers
    ]
    return Labels(labels.shape, graph.atoms.layers(parts))
