"""The masked twin: the dense model made to compute what the pruned one must, without removing anything.

Wherever a call sums over removed elements, they are zeroed first; where it takes statistics, it takes them over what
is kept. Nothing else is touched, so a rule that mislabels an operation makes pruned and twin disagree.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from deployprune.graph.removal import Removal, compact, mask
from deployprune.graph.rules import rule_for

__all__ = ["MaskedTwin"]


class MaskedTwin(fx.Interpreter):
    """Runs the dense graph under a removal's masks; ``pruned`` is the graph after surgery, whose sizes it borrows."""

    def __init__(self, dense: fx.GraphModule, removal: Removal, pruned: fx.GraphModule) -> None:
        super().__init__(dense)
        self._removal = removal
        self._pruned = pruned
        self._pruned_nodes = {node.name: node for node in pruned.graph.nodes}

    def run_node(self, n: fx.Node) -> Any:
        """Run one node, its operands masked where it sums over them."""
        rule = rule_for(n.target) if n.op == "call_function" else None
        masking = "none" if rule is None else rule.masking_of(n)
        if masking == "none":
            return super().run_node(n)
        if masking == "zero":
            args = fx.node.map_arg(n.args, self._masked)
            kwargs = fx.node.map_arg(n.kwargs, self._masked)
            return n.target(*args, **kwargs)  # type: ignore[operator]
        return self._run_compact(n)

    def _masked(self, source: fx.Node) -> Any:
        value = self.env[source]
        labels = self._removal.graph.results(source)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or len(labels) != 1:
            return value
        return mask(value, self._removal.keeps(labels[0]))

    def _run_compact(self, n: fx.Node) -> Any:
        node = self._pruned_nodes.get(n.name)
        if node is None:
            return super().run_node(n)
        dense = {source.name: source for source in self.env}

        def compacted(source: fx.Node) -> Any:
            if source.name not in dense:
                return self._pruned.get_buffer(str(source.target))
            value = self.env[dense[source.name]]
            labels = self._removal.graph.results(dense[source.name])
            if isinstance(value, torch.Tensor) and len(labels) == 1:
                return compact(value, self._removal.keeps(labels[0]))
            return value

        result = node.target(*fx.node.map_arg(node.args, compacted), **fx.node.map_arg(node.kwargs, compacted))
        return self._scatter(n, result)

    def _scatter(self, n: fx.Node, result: torch.Tensor) -> torch.Tensor:
        labels = self._removal.graph.results(n)[0]
        for dim, keep in enumerate(self._removal.keeps(labels)):
            if keep is not None:
                shape = [labels.shape[d] if d == dim else size for d, size in enumerate(result.shape)]
                result = torch.zeros(shape, dtype=result.dtype).index_copy(dim, keep, result)
        return result
