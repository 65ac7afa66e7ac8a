"""Which groups are better not offered, or tied, so that the user's own module can follow a plan.

Most attention modules compute with one head size for queries, keys and values, or scale by it: their own forward
cannot follow when head dimensions go one by one, but can when whole heads go. What a module cannot follow is tied to
what it follows, or not offered, unless too little could be pruned then; then a graft or the captured graph is the
product.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from torch import nn

from deployprune.graph.calls import Calls
from deployprune.graph.grouping import GroupedUnits
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.remedies import Remedy, Trials, find_remedy
from deployprune.records import Axis, ChannelGroup

__all__ = ["Following", "find_following"]

_ENOUGH = 0.9  # of what all groups could take, for giving up the rest
_ROUNDS = 6
_NEVER = 10**9  # grafts, for what does not fit even with grafts


@dataclass(frozen=True, slots=True)
class Following:
    """The ``remedy`` with which the module's own code follows best, and what a trial plan then gave."""

    remedy: Remedy = field(default_factory=Remedy)
    product: str = "graph"
    grafted: tuple[str, ...] = ()


def find_following(
    module: nn.Module,
    graph: LabelledGraph,
    units: GroupedUnits,
    groups: Collection[ChannelGroup],
    calls: Calls,
) -> Following:
    """Try plans over all of ``groups``, then with remedies for the modules whose own code got stuck."""
    trials = Trials(module, graph, units, calls)
    remedy, best, fewest = Remedy(), Following(), _NEVER
    whole = _freedom(groups, _covered(groups))
    least = _ENOUGH * whole
    for _ in range(_ROUNDS):
        rest = [group for group in groups if group.name not in remedy.left_out]
        if not rest or _freedom(rest, set()) < least:
            break
        fit = trials.fit(rest, remedy)
        if fit is None:
            break
        stuck = _NEVER if fit.module is None else len(fit.grafted)
        if stuck < fewest:
            best, fewest = Following(remedy, fit.product, fit.grafted), stuck
        dims = _covered(rest) or {group.name for group in rest if group.kind == "head dimension"}
        more = Remedy(frozenset(dims)) if dims else find_remedy(trials, fit.grafted, rest, int(whole - least))
        if not stuck or more == Remedy():
            break
        remedy = remedy.joined(more)
    return best


def _covered(groups: Collection[ChannelGroup]) -> set[str]:
    """Head dimensions of attentions whose heads can go; some are blocks themselves, as heads are."""
    heads = [group for group in groups if group.kind == "head"]
    dims = (group for group in groups if group.kind in ("head", "head dimension"))
    return {group.name for group in dims if any(_crosses(group, head) for head in heads)}


def _crosses(group: ChannelGroup, head: ChannelGroup) -> bool:
    """Whether units of ``group`` run through all heads, which are in fewer pieces."""
    shared = set(group.axes).intersection(head.axes)
    return any(group.kind != "head" or _pieces(group, axis) > _pieces(head, axis) for axis in shared)


def _pieces(group: ChannelGroup, axis: Axis) -> int:
    """Into how many runs of neighbours the channels of a unit fall."""
    taken = group.units[0][axis.parameter][axis.dim]
    return sum(after - before > 1 for before, after in pairwise(taken)) + 1


def _freedom(groups: Iterable[ChannelGroup], but: Collection[str]) -> int:
    """The parameters that every group could take away by itself: where one group can, others beside it still count."""
    return sum(group.parameters for group in groups if group.name not in but)
