"""Grafts: one module of the user's whose forward cannot follow a removal runs its piece of the pruned graph instead.

The graft is still of the user's class, with the same children, parameter names and attributes; its forward alone is
replaced. All modules around it stay the user's own code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from deployprune.errors import UsageError
from deployprune.graph.calls import Border, Call, Value
from deployprune.graph.extraction import Piece, extract

__all__ = ["graft", "replace_module"]


@dataclass(frozen=True, slots=True)
class _Wiring:
    """Where a graft's graph takes its operands: leaves of the call's arguments, then the module's own tensors."""

    arguments: int
    inputs: tuple[int, ...]
    tensors: tuple[str, ...]
    leaving: Border
    outputs: tuple[str, ...]

    def __deepcopy__(self, memo: dict[int, Any]) -> _Wiring:
        return self


class _Graft(nn.Module):
    """Runs a graph in the place of the forward of the class that it is mixed into."""

    _wiring: _Wiring
    _piece: fx.GraphModule

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the class's own forward would compute, were it written for these sizes."""
        wiring = self._wiring
        leaves, _ = pytree.tree_flatten((args, kwargs))
        if len(leaves) != wiring.arguments:
            raise UsageError(
                f"{type(self).__name__} runs as a graph that was captured with {wiring.arguments} arguments, "
                f"not {len(leaves)}",
                hint="call it as the model's own forward does",
            )
        operands = [leaves[index] for index in wiring.inputs]
        results = self._piece(*operands, *(attrgetter(name)(self) for name in wiring.tensors))
        return wiring.leaving.tree(dict(zip(wiring.outputs, results, strict=True)).__getitem__)

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (type(self).__mro__[2],), self.__dict__


def graft(model: nn.Module, call: Call, pruned: fx.GraphModule) -> nn.Module | None:
    """Let the module of ``call`` in ``model`` run its piece of ``pruned``: what now stands in its place.

    None, and nothing is changed, where that is no closed piece. ``model`` has the pruned parameters already.
    """
    part = model.get_submodule(call.path)
    known = set(_tensors(model))
    piece = extract(pruned, call, known) if call.path else None
    if piece is None:
        return None
    tensors = _local_names(model, part, piece.tensors)
    if tensors is None:
        return None
    kind = type(part).__mro__[2] if isinstance(part, _Graft) else type(part)
    new = _blank(kind)
    new.__setstate__({**vars(part), "_modules": dict(part._modules)})  # type: ignore[no-untyped-call]
    new._wiring = _wire(call, piece, tensors)
    new._piece = piece.program
    new._piece.train(part.training)
    replace_module(model, part, new)
    return new


def _blank(kind: type[nn.Module]) -> _Graft:
    """An empty module of a class that is ``kind`` but for its forward."""
    mixed = type(kind.__name__, (_Graft, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})
    return cast("_Graft", nn.Module.__new__(mixed))


def _wire(call: Call, piece: Piece, tensors: Sequence[str]) -> _Wiring:
    places = {leaf.node: index for index, leaf in enumerate(call.entering.leaves) if isinstance(leaf, Value)}
    leaving = tuple(None if isinstance(leaf, torch.Tensor) else leaf for leaf in call.leaving.leaves)
    return _Wiring(
        arguments=len(call.entering.leaves),
        inputs=tuple(places[name] for name in piece.inputs),
        tensors=tuple(tensors),
        leaving=Border(leaving, call.leaving.spec),
        outputs=piece.outputs,
    )


def _local_names(model: nn.Module, part: nn.Module, names: Sequence[str]) -> list[str] | None:
    """The names that ``part`` has for tensors of ``model``; a shared tensor may have another one in the graph."""
    own = {id(tensor): name for name, tensor in _tensors(part).items()}
    found = [own.get(id(attrgetter(name)(model))) for name in names]
    return None if None in found else [name for name in found if name is not None]


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    parameters = module.named_parameters(remove_duplicate=False)
    return {**dict(module.named_buffers(remove_duplicate=False)), **dict(parameters)}


def replace_module(model: nn.Module, part: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``part`` is in ``model``."""
    for owner in list(model.modules()):
        for name, child in owner._modules.items():
            if child is part:
                owner._modules[name] = new
