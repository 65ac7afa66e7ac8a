"""Which channel groups patterns mean, and how narrow each may get, on which step: for all, and for some by pattern."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatch

from deployprune.errors import UsageError
from deployprune.options import PruningConfig
from deployprune.records import ChannelGroup

__all__ = ["configure_groups", "require_match"]


def configure_groups(groups: Sequence[ChannelGroup], settings: PruningConfig) -> tuple[ChannelGroup, ...]:
    """The groups with their least widths and steps; of the patterns that match a group, the last that says so counts.

    A pattern is matched against the group's name and the modules whose parameters it runs along, as ``ignore`` is.
    Raises UsageError, naming those that look like it, for a pattern that matches nothing.
    """
    names = {group.name: _names(group) for group in groups}
    for pattern in settings.groups:
        if not any(_matches(pattern, found) for found in names.values()):
            raise _unmatched(f"$.pruning.groups[{pattern!r}]", pattern, set[str]().union(*names.values()))
    return tuple(_configured(group, names[group.name], settings) for group in groups)


def require_match(patterns: Sequence[str], names: Collection[str]) -> None:
    """Check that each of ``pruning.ignore`` matches one of ``names``, those of channel groups and modules.

    Raises UsageError, naming those that look like it: a head that is thought to be safe must not be pruned.
    """
    for pattern in patterns:
        if not _matches(pattern, names):
            raise _unmatched(f"$.pruning.ignore: {pattern!r}", pattern, names)


def _configured(group: ChannelGroup, names: set[str], settings: PruningConfig) -> ChannelGroup:
    share, step = settings.min_width, settings.step
    for pattern, own in settings.groups.items():
        if _matches(pattern, names):
            share, step = own.min_width or share, own.step or step
    return replace(
        group,
        minimum=max(1, round(share * group.size)),
        step=max(1, (step or 1) // group.channels_per_unit),
        branch=group.branch if settings.depth else None,
    )


def _names(group: ChannelGroup) -> set[str]:
    return {group.name} | {axis.parameter.rpartition(".")[0] for axis in group.axes}


def _matches(pattern: str, names: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for name in names)


def _unmatched(place: str, pattern: str, known: Collection[str]) -> UsageError:
    near = difflib.get_close_matches(pattern, sorted(known), n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "`deployprune inspect` lists the channel groups"
    return UsageError(f"{place}: the pattern matches no channel group or module", hint=hint)
