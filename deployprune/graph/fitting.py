"""Fitting the user's own module to a removal: shrunk, its sizes set, and grafted where nothing else helps.

What fits is found on parameters drawn at random, so that nothing is equal by being zero, and counts only where the
outputs of the whole are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from deployprune.errors import ParityError
from deployprune.graph.adapting import FIT_TOLERANCE, Adaptation
from deployprune.graph.calls import Calls
from deployprune.graph.capture import Captured, flatten_outputs
from deployprune.graph.copying import copy_module
from deployprune.graph.drawing import load_state, random_state
from deployprune.graph.grafting import graft
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.origin import first_line
from deployprune.graph.proof import difference
from deployprune.graph.removal import Removal, kept_parameters
from deployprune.graph.shrink import Attributes, patch, shrink
from deployprune.graph.sizes import find_options
from deployprune.graph.training_run import doubled, trains

__all__ = ["Fit", "fit_module", "follows_at", "refit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """A shrunk copy of the user's module that computes what the pruned graph does, and the attributes it needed.

    ``module`` is None where there is none. ``grafted`` are the paths of the modules that run a piece of the graph.
    """

    module: nn.Module | None
    attributes: Attributes = field(default_factory=dict)
    grafted: tuple[str, ...] = ()

    @property
    def product(self) -> str:
        """``eager``, ``grafted`` or ``graph``, as in :class:`~deployprune.records.Proof`."""
        if self.module is None:
            return "graph"
        return "grafted" if self.grafted else "eager"


def fit_module(module: nn.Module, removal: Removal, pruned: fx.GraphModule, calls: Calls) -> Fit:
    """Shrink ``module`` and make it follow ``pruned``; it is tried on parameters drawn at random, and keeps its own.

    What trained before must also train: in place of code that only training runs, and that cannot follow, a graft runs.
    """
    if "" not in calls.first:
        return Fit(None)
    small, stock = shrink(module, removal, pruned)
    with torch.no_grad():
        adaptation = _adaptation(small, module, removal, pruned, calls)
        if not adaptation.fit("") or not _agree(adaptation, removal.graph.captured):
            return Fit(None)
        if calls.trains and not _make_train(adaptation, removal.graph):
            return Fit(None)
    attributes = {**stock, **adaptation.changed}
    return Fit(refit(small, attributes, adaptation.grafted, pruned, calls), attributes, tuple(adaptation.grafted))


def follows_at(path: str, module: nn.Module, removal: Removal, pruned: fx.GraphModule, calls: Calls) -> bool:
    """Whether the part of ``module`` at ``path`` follows without a graft, given what the pruned graph gives it."""
    small, _ = shrink(module, removal, pruned)
    with torch.no_grad():
        adaptation = _adaptation(small, module, removal, pruned, calls)
        return adaptation.fit(path) and not adaptation.grafted


def refit(
    small: nn.Module, attributes: Attributes, grafted: Iterable[str], pruned: fx.GraphModule, calls: Calls
) -> nn.Module:
    """Give a module with pruned parameters the sizes and grafts that an earlier fit found."""
    patch(small, attributes)
    for path in grafted:
        graft(small, calls.first[path], pruned)
    return small


def _adaptation(
    small: nn.Module, module: nn.Module, removal: Removal, pruned: fx.GraphModule, calls: Calls
) -> Adaptation:
    """Copies of the shrunk module and of the graph, on the same drawn parameters, to be made to follow."""
    drawn, graph = copy_module(small).eval(), copy_module(pruned)
    state = random_state(copy_module(removal.graph.captured.module), torch.Generator().manual_seed(0))
    for part in (drawn, graph):
        load_state(part, state, kept_parameters(removal))
    values = _run(graph, removal.graph.captured.inputs)
    return Adaptation(drawn, graph, calls.first, find_options(module, removal, calls), values)


def _make_train(adaptation: Adaptation, graph: LabelledGraph) -> bool:
    """Whether the module trains, if need be with the code that reads what only training does left out by a graft."""
    captured = graph.captured
    read = {str(node.target) for node in captured.module.graph.nodes if node.op == "get_attr"}
    owners = {name.rpartition(".")[0] for name, _ in captured.module.named_parameters() if name not in read}
    for path in (None, *sorted({adaptation.caller(owner) for owner in owners}, reverse=True)):
        if path is not None and not adaptation.graft(path):
            return False
        if trains(copy_module(adaptation.module), captured):
            return True
    return False


def _run(pruned: fx.GraphModule, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """All values of the pruned graph, by their nodes' names."""
    keeper = _Keeper(pruned)
    try:
        keeper.run(*inputs)
    except (IndexError, RuntimeError) as error:
        raise ParityError(
            f"the pruned graph does not run: {first_line(error)}",
            hint="this is a mistake in deployprune, not in your model: please report it; "
            "`ignore` can leave the group out",
        ) from error
    return keeper.values


class _Keeper(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        self.values[n.name] = super().run_node(n)
        return self.values[n.name]


def _agree(adaptation: Adaptation, captured: Captured) -> bool:
    """Whether module and graph give the same, with two examples where the batch size is free."""
    inputs = doubled(captured)
    try:
        outputs = flatten_outputs(adaptation.module(*inputs))
    except Exception:  # the user's forward, with sizes that do not fit
        return False
    return difference(outputs, flatten_outputs(adaptation.graph(*inputs))) <= FIT_TOLERANCE
