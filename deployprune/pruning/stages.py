"""Where widths are looked for, in turn: near a measured plan, everywhere on coarse steps, near what is found there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.candidates import Choice, Region, choices
from deployprune.pruning.polish import Limit
from deployprune.pruning.search import Found, search
from deployprune.records import ChannelGroup

__all__ = ["Attempt", "Menus", "find"]

_CLEARLY = 0.02  # of the importance: what leaving whole channel steps must bring
_MUCH = 0.05  # of the importance: what using the only budget up is not worth
_REACH = 0.25  # of a group's size: how far from a plan that is too fast finer ones are looked for


@dataclass(frozen=True, slots=True)
class Menus:
    """The candidates of every group, on one step after another."""

    groups: Sequence[ChannelGroup]
    importance: Mapping[str, NDArray[np.float64]]
    steps: Sequence[int]
    max_candidates: int

    def everywhere(self) -> list[tuple[Choice, ...]]:
        """Menus over all legal widths, without those that repeat an earlier step's."""
        menus: list[tuple[Choice, ...]] = []
        for step in self.steps:
            menu = self._menu(step, None)
            if all(any(a.widths != b.widths for a, b in zip(menu, other, strict=True)) for other in menus):
                menus.append(menu)
        return menus

    def near(self, region: Region) -> list[tuple[Choice, ...]]:
        """A menu over the region, on all its steps at once."""
        return [self._menu(self.steps[0], region)]

    def _menu(self, step: int, region: Region | None) -> tuple[Choice, ...]:
        return choices(
            self.groups, self.importance, max_candidates=self.max_candidates, channel_step=step, region=region
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """A search until ``deadline`` for widths that are not among ``avoid``; for better ones than were found no search
    begins after ``leisure`` (both of time.monotonic), and none goes on past the middle between the two."""

    deadline: float
    leisure: float
    avoid: Sequence[Mapping[str, int]]

    def search(self, menus: Sequence[Sequence[Choice]], limits: Sequence[Limit]) -> Found | None:
        """The first menu's plan, unless a finer one's keeps clearly more: models are truest on whole channel steps."""
        best: Found | None = None
        for menu in menus:
            if best is None or time.monotonic() < self.leisure:
                deadline = self.deadline if best is None else (self.leisure + self.deadline) / 2.0
                found = search(menu, limits, deadline, self.avoid, insist=best is None)
                if found is not None and _keeps_more(found, best):
                    best = found
        return best


def find(menus: Menus, bands: Sequence[Limit], region: Region | None, attempt: Attempt) -> Found | None:
    """A plan within the bands, in the region if one is given; or else one below their upper ends.

    The low end of a band excludes coarse plans that keep more, for being too fast. Near such a plan there may be finer
    ones that use the budget up; if not, it is taken where it keeps much more. Of several budgets one binds, and using
    the others up buys nothing, so that clearly more is enough there.
    """
    ceilings = [replace(band, low=0.0) for band in bands]
    several = sum(band.low > 0.0 for band in bands) > 1
    if region is not None:
        near = menus.near(region)
        landed = attempt.search(near, bands)
        if landed is not None and not several:
            return landed
        below = attempt.search(near, ceilings)
        return below if below is not None and _keeps_more(below, landed) else landed
    landed = attempt.search(menus.everywhere(), bands)
    if landed is not None and time.monotonic() >= attempt.leisure:
        return landed
    below = attempt.search(menus.everywhere(), ceilings)
    if below is None or not _keeps_more(below, landed):
        return landed
    around = menus.near(Region(centre=below.widths, reach=_REACH))
    filled = attempt.search(around, bands)
    if filled is not None and _keeps_more(filled, landed):
        landed = filled
    if landed is not None and landed.loss <= below.loss + (_CLEARLY if several else _MUCH):
        return landed
    return attempt.search(around, ceilings) or below


def _keeps_more(found: Found, than: Found | None) -> bool:
    return than is None or found.loss < than.loss - _CLEARLY
