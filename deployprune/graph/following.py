"""Which groups are better not offered, so that the user's own module can follow a plan.

Most attention modules compute with one head size for queries, keys and values, or scale by it: their own forward
cannot follow when head dimensions go one by one, but can when whole heads go. Head dimensions are offered only where
the module follows, or where too little could be pruned without them; then the captured graph is the product.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import fx, nn

from deployprune.graph.fitting import fit_module
from deployprune.graph.grouping import GroupedUnits, removable_parameters
from deployprune.graph.propagate import LabelledGraph
from deployprune.graph.removal import close_removal
from deployprune.graph.surgery import prune_graph
from deployprune.records import ChannelGroup

__all__ = ["unfollowed"]

_ENOUGH = 0.9  # of the prunable parameters, for giving up the rest
_SHARES = (0.6, 0.8, 0.7)  # kept of one group and the next, so that no two shrink alike


def unfollowed(
    module: nn.Module, graph: LabelledGraph, units: GroupedUnits, groups: Collection[ChannelGroup]
) -> set[str]:
    """The names of head dimensions that the module cannot follow, while it can follow all other groups."""
    offered = {group.name: units[group.name] for group in groups}
    dims = {group.name for group in groups if group.kind == "head dimension"}
    if not dims or isinstance(module, fx.GraphModule) or _follows(module, graph, offered):
        return set()
    heads = {axis for group in groups if group.kind == "head" for axis in group.axes}
    covered = {group.name for group in groups if group.name in dims and not heads.isdisjoint(group.axes)}
    least = _ENOUGH * _removable(graph, offered)
    for dropped in (covered, dims):
        rest = {name: members for name, members in offered.items() if name not in dropped}
        if rest and _removable(graph, rest) >= least and _follows(module, graph, rest):
            return dropped
    return set()


def _removable(graph: LabelledGraph, units: GroupedUnits) -> int:
    return removable_parameters(graph, [unit for members in units.values() for unit in members])


def _follows(module: nn.Module, graph: LabelledGraph, units: GroupedUnits) -> bool:
    """Whether a shrunk copy of the module computes what the pruned graph does, on one plan over all these groups."""
    gone: set[int] = set()
    for index, members in enumerate(units.values()):
        kept = max(1, round(len(members) * _SHARES[index % len(_SHARES)]))
        gone.update(atom for unit in members[kept:] for atom in unit.atoms)
    removal = close_removal(graph, gone)
    return removal is not None and fit_module(module, removal, prune_graph(removal))[0] is not None
