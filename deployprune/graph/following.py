"""Which groups are better not offered, so that the user's own module can follow a plan.

Most attention modules compute with one head size for queries, keys and values, or scale by it: their own forward
cannot follow when head dimensions go one by one, but can when whole heads go. What a module cannot follow is not
offered, unless too little could be pruned without it; then the captured graph is the product.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from deployprune.graph.calls import Calls
from deployprune.graph.fitting import Fit, fit_module
from deployprune.graph.grouping import GroupedUnits
from deployprune.graph.propagate import LabelledGraph
from deployprune.graph.removal import close_removal
from deployprune.graph.surgery import prune_graph
from deployprune.graph.units import Unit
from deployprune.records import ChannelGroup

__all__ = ["Following", "find_following"]

_ENOUGH = 0.9  # of what all groups could take, for giving up the rest
_ROUNDS = 6
_NEVER = 10**9  # grafts, for what does not fit even with grafts
_SHARES = (0.6, 0.8, 0.7)  # kept of one group and the next, so that no two shrink alike


@dataclass(frozen=True, slots=True)
class Following:
    """The groups ``left_out`` so that the module's own code follows best, and what a trial plan then gave."""

    left_out: frozenset[str] = frozenset()
    product: str = "graph"
    grafted: tuple[str, ...] = ()


def find_following(
    module: nn.Module,
    graph: LabelledGraph,
    units: GroupedUnits,
    groups: Collection[ChannelGroup],
    calls: Calls,
) -> Following:
    """Try plans over all of ``groups``, then without those that got the module's own code stuck."""
    dropped: set[str] = set()
    best, fewest = Following(), _NEVER
    least = _ENOUGH * _freedom(groups, _covered(groups))
    for _ in range(_ROUNDS):
        rest = [group for group in groups if group.name not in dropped]
        if not rest or _freedom(rest, set()) < least:
            break
        fit = _fit(module, graph, [units[group.name] for group in rest], calls)
        stuck = _NEVER if fit is None or fit.module is None else len(fit.grafted)
        if fit is not None and stuck < fewest:
            best, fewest = Following(frozenset(dropped), fit.product, fit.grafted), stuck
        culprits = _culprits(module, rest, fit.grafted) if fit is not None and stuck else set()
        if not culprits:
            break
        dropped = dropped | culprits
    return best


def _culprits(module: nn.Module, groups: Sequence[ChannelGroup], stuck: Collection[str]) -> set[str]:
    """Head dimensions first; then what lives in modules like the one that got stuck and in their parents alone."""
    dims = {group.name for group in groups if group.kind == "head dimension"}
    covered = _covered(groups)
    if covered or dims or not stuck:
        return covered or dims
    kinds = {type(module.get_submodule(path)) for path in stuck}
    alike = [path for path, part in module.named_modules() if type(part) in kinds]
    local = [group for group in groups if any(_lives_in(group, path) for path in alike)]
    return {group.name for group in local if group.kind != "head"} or {group.name for group in local}


def _lives_in(group: ChannelGroup, path: str) -> bool:
    parent = path.rpartition(".")[0]
    names = {axis.parameter for axis in group.axes}
    return any(name.startswith(f"{path}.") for name in names) and all(name.startswith(f"{parent}.") for name in names)


def _covered(groups: Collection[ChannelGroup]) -> set[str]:
    """Head dimensions of attentions whose heads can go."""
    heads = {axis for group in groups if group.kind == "head" for axis in group.axes}
    return {group.name for group in groups if group.kind == "head dimension" and not heads.isdisjoint(group.axes)}


def _freedom(groups: Iterable[ChannelGroup], but: Collection[str]) -> int:
    """The parameters that every group could take away by itself: where one group can, others beside it still count."""
    return sum(group.parameters for group in groups if group.name not in but)


def _fit(module: nn.Module, graph: LabelledGraph, units: Sequence[tuple[Unit, ...]], calls: Calls) -> Fit | None:
    """What comes of a shrunk copy of the module on one plan over all these groups."""
    gone: set[int] = set()
    for index, members in enumerate(units):
        kept = max(1, round(len(members) * _SHARES[index % len(_SHARES)]))
        gone.update(atom for unit in members[kept:] for atom in unit.atoms)
    removal = close_removal(graph, gone)
    return None if removal is None else fit_module(module, removal, prune_graph(removal), calls)
