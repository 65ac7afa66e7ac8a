"""A captured graph with the labels of everything in it, and what it says cannot be pruned."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import fx

from deployprune.graph.atoms import Atoms
from deployprune.graph.capture import Captured
from deployprune.graph.labels import Labels

__all__ = ["LabelledGraph", "Opaque"]


@dataclass(frozen=True, slots=True)
class Opaque:
    """An operation that froze its operands: its name, why, where it stands, and the parameters that this froze."""

    op: str
    reason: str
    location: str
    parameters: tuple[str, ...]


@dataclass(slots=True)
class LabelledGraph:
    """The captured graph with the labels of every node (a list where a node has several results).

    ``parameters`` are keyed by their state-dict name; ``constants`` holds the values of nodes that no input reaches
    and that are whole numbers: the indices that a rewrite needs. ``opaque`` are the calls that no rule covers, ``held``
    those whose rule says that what they are given has to stay.
    """

    captured: Captured
    atoms: Atoms
    nodes: dict[str, Labels | list[Labels]] = field(default_factory=dict)
    parameters: dict[str, Labels] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    opaque: list[Opaque] = field(default_factory=list)
    held: list[Opaque] = field(default_factory=list)

    def results(self, node: fx.Node) -> list[Labels]:
        """The labels of all results of a node; none where it gives no tensor."""
        labels = self.nodes.get(node.name, [])
        return labels if isinstance(labels, list) else [labels]
