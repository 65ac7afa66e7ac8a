"""The masked twin: the dense model made to compute what the pruned one must, without removing anything.

Wherever a call sums over removed elements, they are zeroed first; where it takes statistics, it takes them over what
is kept. Nothing else is touched, so a rule that mislabels an operation makes pruned and twin disagree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from deployprune.graph.removal import Removal
from deployprune.graph.rules import MaskedCall, Operand, rule_for
from deployprune.graph.rules.base import bind

__all__ = ["MaskedTwin"]


class MaskedTwin(fx.Interpreter):
    """Runs the dense graph under a removal's masks."""

    def __init__(self, dense: fx.GraphModule, removal: Removal) -> None:
        super().__init__(dense)
        self._removal = removal
        self._trunks = {branch.addition: branch.trunk for branch in removal.skipped}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node as its rule says that its masked twin runs; an addition without its branch is its trunk."""
        if n.name in self._trunks:
            return next(self.env[source] for source in n.all_input_nodes if source.name == self._trunks[n.name])
        rule = rule_for(n.target) if n.op == "call_function" else None
        if rule is None:
            return super().run_node(n)
        args, kwargs = fx.node.map_arg((n.args, n.kwargs), self._operand)
        return rule.masking(MaskedCall(n.target, bind(n.target, args, kwargs)))

    def _operand(self, source: fx.Node) -> Any:
        value = self.env[source]
        labels = self._removal.graph.results(source)
        if isinstance(value, torch.Tensor) and len(labels) == 1:
            return Operand(value, self._removal.keeps(labels[0]))
        return value
