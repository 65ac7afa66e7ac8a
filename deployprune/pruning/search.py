"""Solve, linearise anew where the last answer lies, polish: the widths of least loss for one menu of candidates."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployprune.pruning.candidates import Choice, thin
from deployprune.pruning.costs import tabulate
from deployprune.pruning.polish import Limit, polish, within
from deployprune.pruning.program import solve

__all__ = ["Found", "gap_between", "search"]

_JOINT_CANDIDATES = 30_000  # pairs of candidates over all interacting groups: what HiGHS solves in seconds
_FEWEST_CANDIDATES = 4
_ROUNDS = 4  # linearisations, where nodes have more than two groups
_LEAST_S = 1.0  # that the solver gets, however late it is
_SOLVING = 0.8  # of the time that is left: the rest is for polishing
_SETTLED = 1e-3  # of the importance kept: a linearisation that brings less is the last


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Widths within the limits, their loss, and how far the importance they keep may lie below the best (a share).

    The bound is proven for nodes of up to two groups; those of more are in it as linearised around the last answer.
    With the loss ``-sum(I * log s)`` the importance kept is ``exp(-loss)``, the groups' weighted geometric mean share,
    and the gap to a bound of the loss is ``1 - exp(bound - loss)``.
    """

    widths: dict[str, int]
    loss: float
    bound: float

    @property
    def gap(self) -> float:
        """The gap to the solver's bound."""
        return gap_between(self.loss, self.bound)


def gap_between(loss: float, bound: float) -> float:
    """How far the importance kept at ``loss`` may lie below what ``bound`` allows, as a share of the latter."""
    return max(0.0, 1.0 - math.exp(min(0.0, bound - loss)))


def search(
    menu: Sequence[Choice],
    limits: Sequence[Limit],
    deadline: float,
    avoid: Sequence[Mapping[str, int]] = (),
    *,
    insist: bool = True,
) -> Found | None:
    """The widths of least loss within the limits, and not among ``avoid``, or None where none are found.

    ``deadline`` is of time.monotonic. Past it all rounds are still made where nothing was found, but not without
    ``insist``.
    """
    menu = _affordable(menu, limits)
    incumbent = _start(menu, limits)
    best: tuple[float, dict[str, int]] | None = None
    bound = -math.inf
    for _ in range(_ROUNDS):
        by_group = {choice.group: choice for choice in menu}
        tables = [tabulate(limit.model, by_group, incumbent) for limit in limits]
        bands = [(table, limit.low, limit.high) for table, limit in zip(tables, limits, strict=True)]
        left = _SOLVING * (deadline - time.monotonic())
        solution = solve(menu, bands, time_limit_s=max(_LEAST_S, left), avoid=avoid)
        if math.isfinite(solution.bound):  # not where the time was up: then the last linearisation's is the nearest
            bound = solution.bound
        linear = any(table.bilinear for table in tables)
        if solution.widths is None and not linear:
            return None
        found = polish(solution.widths or incumbent, menu, limits, avoid, deadline)
        before, loss = best, _loss(found, menu)
        if within(found, limits) and found not in avoid and (best is None or loss < best[0]):
            best = (loss, found)
        if not linear or found == incumbent or _is_over(before, best, deadline, insist):
            break
        incumbent = found
    if best is None:
        return None
    return Found(widths=best[1], loss=best[0], bound=bound)


def _is_over(
    before: tuple[float, dict[str, int]] | None,
    best: tuple[float, dict[str, int]] | None,
    deadline: float,
    insist: bool,
) -> bool:
    """Whether no other widths are looked for: there is no time for them, or the last were hardly better."""
    if time.monotonic() + _LEAST_S >= deadline and (best is not None or not insist):
        return True
    return before is not None and best is not None and gap_between(before[0], best[0]) < _SETTLED


def _loss(widths: dict[str, int], menu: Sequence[Choice]) -> float:
    return sum(float(choice.loss[choice.widths.index(widths[choice.group])]) for choice in menu)


def _start(menu: Sequence[Choice], limits: Sequence[Limit]) -> dict[str, int]:
    """All groups scaled alike: the widest such widths within the upper limits, or the narrowest of all."""
    for share in np.linspace(1.0, 0.0, 41):
        widths = {choice.group: _nearest(_present(choice.widths), share * choice.widths[-1]) for choice in menu}
        if all(limit.model.predict_ms(widths) <= limit.high for limit in limits):
            break
    return widths


def _present(widths: Sequence[int]) -> Sequence[int]:
    """The widths with which a group is there at all, where there are any."""
    return [width for width in widths if width] or widths


def _nearest(widths: Sequence[int], wanted: float) -> int:
    return min(widths, key=lambda width: abs(width - wanted))


def _affordable(menu: Sequence[Choice], limits: Sequence[Limit]) -> tuple[Choice, ...]:
    """The menu with as many candidates a group as keep the program small enough."""
    nodes = (tuple(sorted(set(node.groups))) for limit in limits for node in limit.model.nodes)
    pairs = dict.fromkeys(groups for groups in nodes if len(groups) == 2)
    count = max((len(choice.widths) for choice in menu), default=0)
    sizes = {choice.group: len(choice.widths) for choice in menu}
    while count > _FEWEST_CANDIDATES and sum(sizes[a] * sizes[b] for a, b in pairs) > _JOINT_CANDIDATES:
        count -= 1
        sizes = {choice.group: min(count, len(choice.widths)) for choice in menu}
    return tuple(_thinned(choice, sizes[choice.group]) for choice in menu)


def _thinned(choice: Choice, count: int) -> Choice:
    widths = thin(choice.widths, count)
    loss = np.array([choice.loss[choice.widths.index(width)] for width in widths])
    return replace(choice, widths=widths, loss=loss)
