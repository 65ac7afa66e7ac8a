"""Remedies: what lets a module of the user's follow with its own code, found by trying.

Code that takes two widths to be equal (an output reshaped to the input's width, one size for queries and values)
follows where these widths stay equal; code that knows a size by heart follows where that size stays. So groups are
tied, at no loss of what can go, or left out.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from deployprune.graph.calls import Calls
from deployprune.graph.fitting import Fit, fit_module, follows_at
from deployprune.graph.grouping import GroupedUnits
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.removal import Removal, close_removal
from deployprune.graph.surgery import prune_graph
from deployprune.graph.tying import Ties, join_ties
from deployprune.records import ChannelGroup

__all__ = ["Remedy", "Trials", "find_remedy"]

_MOST_LEFT_OUT = 2  # groups at once
_MOST_SPLIT = 4  # groups in a tie of which all parts are tried
_MOST_TRIED = 24
_SHARE = 0.7  # kept of a group, about


@dataclass(frozen=True, slots=True)
class Remedy:
    """Groups that are not offered, and groups that keep equal widths."""

    left_out: frozenset[str] = frozenset()
    ties: Ties = ()

    def joined(self, other: Remedy) -> Remedy:
        """Both at once."""
        left_out = self.left_out | other.left_out
        ties = join_ties(tie - left_out for tie in (*self.ties, *other.ties))
        return Remedy(left_out, tuple(tie for tie in ties if len(tie) > 1))


@dataclass(frozen=True, slots=True)
class Trials:
    """Trial plans over the groups of one model, of which a tie's have one width."""

    module: nn.Module
    graph: LabelledGraph
    units: GroupedUnits
    calls: Calls

    def fit(self, groups: Sequence[ChannelGroup], remedy: Remedy) -> Fit | None:
        """What comes of a shrunk copy of the whole module; None where the plan is not legal."""
        removal = self._removal(groups, remedy)
        return None if removal is None else fit_module(self.module, removal, prune_graph(removal), self.calls)

    def follows(self, path: str, groups: Sequence[ChannelGroup], remedy: Remedy) -> bool:
        """Whether the module at ``path`` follows a plan over ``groups`` with its own code."""
        removal = self._removal(groups, remedy)
        return removal is not None and follows_at(path, self.module, removal, prune_graph(removal), self.calls)

    def _removal(self, groups: Sequence[ChannelGroup], remedy: Remedy) -> Removal | None:
        gone: set[int] = set()
        leaders = {name: min(tie) for tie in remedy.ties for name in tie}
        kept: dict[int, dict[str, int]] = defaultdict(dict)
        for name in (group.name for group in groups if group.name not in remedy.left_out):
            members = self.units[name]
            widths, leader = kept[len(members)], leaders.get(name, name)
            if leader not in widths:
                widths[leader] = _width(len(members), len(widths))
            gone.update(atom for unit in members[widths[leader] :] for atom in unit.atoms)
        return close_removal(self.graph, gone)


def _width(size: int, place: int) -> int:
    """How many units stay: of groups of one size, as far as possible, in no two as many."""
    nearest = sorted(range(1, size), key=lambda width: abs(width - _SHARE * size))
    return [*nearest, size][place % size]


def find_remedy(trials: Trials, stuck: Collection[str], groups: Sequence[ChannelGroup], spare: int) -> Remedy:
    """What lets the ``stuck`` modules follow: one of each kind is tried, those like it get the same.

    A group may be left out that has no more than ``spare`` parameters.
    """
    alike: dict[object, list[tuple[str, list[ChannelGroup]]]] = defaultdict(list)
    for path in stuck:
        touching = _touching(groups, path)
        alike[type(trials.module.get_submodule(path)), _pattern(touching)].append((path, touching))
    found = Remedy()
    for members in alike.values():
        path, first = members[0]
        remedy = _search(trials, path, first, spare)
        for _, others in members:
            names = {one.name: other.name for one, other in zip(first, others, strict=True)}
            found = found.joined(_renamed(remedy, names))
    return found


def _renamed(remedy: Remedy, names: dict[str, str]) -> Remedy:
    ties = tuple(frozenset(names[name] for name in tie) for tie in remedy.ties)
    return Remedy(frozenset(names[name] for name in remedy.left_out), ties)


def _search(trials: Trials, path: str, groups: Sequence[ChannelGroup], spare: int) -> Remedy:
    """The mildest remedy found for one module; none where nothing that was tried helps, or nothing is needed."""
    guilty = _guilty(trials, path, groups)
    cheap = [group for group in guilty if group.parameters <= spare and _lives_near(group, path)]
    remedies = itertools.islice(_possible(guilty, cheap), _MOST_TRIED)
    found = next((remedy for remedy in remedies if trials.follows(path, groups, remedy)), Remedy())
    return next((milder for milder in _milder(found) if trials.follows(path, groups, milder)), found)


def _guilty(trials: Trials, path: str, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """The groups that get the module stuck, each alone or only together; halves are tried, as there may be many."""
    if trials.follows(path, groups, Remedy()):
        return []
    middle = len(groups) // 2
    parts = (groups[:middle], groups[middle:]) if middle else ()
    return [group for part in parts for group in _guilty(trials, path, part)] or list(groups)


def _possible(groups: Sequence[ChannelGroup], cheap: Sequence[ChannelGroup]) -> Iterator[Remedy]:
    """All ties of groups of one size, then those with a few of the ``cheap`` groups left out."""
    for count in range(min(len(cheap), _MOST_LEFT_OUT) + 1):
        for chosen in itertools.combinations(sorted(cheap, key=lambda group: group.parameters), count):
            ties = _all_ties([group for group in groups if group not in chosen])
            left_out = frozenset(group.name for group in chosen)
            yield from (Remedy(left_out, kept) for kept in ((), ties) if left_out or kept)


def _all_ties(groups: Sequence[ChannelGroup]) -> Ties:
    by_size: dict[int, set[str]] = defaultdict(set)
    for group in groups:
        by_size[group.size].add(group.name)
    return tuple(frozenset(names) for names in by_size.values() if len(names) > 1)


def _milder(remedy: Remedy) -> Iterator[Remedy]:
    """The remedy with fewer groups tied to each other, mildest first."""
    choices = itertools.product(*(_splits(sorted(tie)) for tie in remedy.ties))
    others = (Remedy(remedy.left_out, tuple(itertools.chain(*chosen))) for chosen in choices)
    fewer = [other for other in others if 0 < _strength(other) < _strength(remedy)]
    yield from itertools.islice(sorted(fewer, key=_strength), _MOST_TRIED)


def _strength(remedy: Remedy) -> int:
    return sum(len(tie) - 1 for tie in remedy.ties)


def _splits(names: Sequence[str]) -> list[Ties]:
    """All ways to tie some of these groups to some others; of many, all or all but one."""
    if len(names) > _MOST_SPLIT:
        return [*((frozenset(names) - {name},) for name in names), (frozenset(names),)]
    ways: list[tuple[frozenset[str], ...]] = [()]
    for name in names:
        joined = [(*way[:at], way[at] | {name}, *way[at + 1 :]) for way in ways for at in range(len(way))]
        ways = [*joined, *((*way, frozenset({name})) for way in ways)]
    return [tuple(tie for tie in way if len(tie) > 1) for way in ways]


def _touching(groups: Sequence[ChannelGroup], path: str) -> list[ChannelGroup]:
    """The groups with parameters in the module; where it has none of them, in the module around it."""
    while True:
        inside = [group for group in groups if any(_is_inside(axis.parameter, path) for axis in group.axes)]
        if inside or not path:
            return inside
        path = path.rpartition(".")[0]


def _pattern(groups: Sequence[ChannelGroup]) -> tuple[tuple[str, int], ...]:
    """Kinds, and which groups are of one size."""
    sizes = [group.size for group in groups]
    return tuple((group.kind, sizes.index(group.size)) for group in groups)


def _lives_near(group: ChannelGroup, path: str) -> bool:
    """Whether all of the group's parameters are in the module around the one at ``path``."""
    parent = path.rpartition(".")[0]
    return all(_is_inside(axis.parameter, parent) for axis in group.axes)


def _is_inside(parameter: str, path: str) -> bool:
    return not path or parameter.startswith(f"{path}.")
