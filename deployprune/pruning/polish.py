"""Local search on the exact predictions: it mends what linearisation missed, a step or two at a time."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.candidates import Choice
from deployprune.records import CostNode, LatencyModel

__all__ = ["Limit", "polish", "within"]

_MOVES = 60  # accepted at most
_TRIED = 12  # pairs of steps verified exactly before a search ends
_TOLERANCE = 1e-6  # of the limits: the solver's own

Moves = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A latency model and the ms that it must predict: at least ``low``, at most ``high``."""

    model: LatencyModel
    low: float
    high: float


def within(widths: Mapping[str, int], limits: Sequence[Limit]) -> bool:
    """Whether every model predicts a latency between its limits."""
    latencies = np.array([limit.model.predict_ms(dict(widths)) for limit in limits])
    return not _violation(latencies, limits).any()


def polish(
    widths: Mapping[str, int],
    choices: Sequence[Choice],
    limits: Sequence[Limit],
    avoid: Sequence[Mapping[str, int]] = (),
    deadline: float = math.inf,
) -> dict[str, int]:
    """Better widths near ``widths``: first nearer to the limits, then of less loss, and none of ``avoid``.

    Tries to move one group to a neighbouring candidate, or one wider and another narrower, and takes the best until
    nothing helps, or past ``deadline`` (of time.monotonic) until the limits are met. Which branches are left out is not
    touched: their groups would have to move together.
    """
    here = dict(widths)
    search = _Search(choices, limits, avoid)
    for _ in range(_MOVES):
        if time.monotonic() >= deadline and within(here, limits):
            break
        moves = search.best_moves(here)
        if not moves:
            break
        here.update(moves)
    return here


@dataclass(frozen=True, slots=True)
class _Steps:
    """Moves of one group each: what each loses, and the ms that it adds on every target (steps x targets)."""

    moves: Sequence[Moves]
    losses: NDArray[np.float64]
    changes: NDArray[np.float64]


class _Search:
    def __init__(self, choices: Sequence[Choice], limits: Sequence[Limit], avoid: Sequence[Mapping[str, int]]) -> None:
        self._choices = choices
        self._limits = limits
        self._avoid = avoid
        self._predictors = [_Predictor(limit.model) for limit in limits]

    def best_moves(self, here: dict[str, int]) -> Moves:
        """The best step, or pair of steps, from here; none where nothing is better."""
        now = np.array([limit.model.predict_ms(here) for limit in self._limits])
        violation = float(_violation(now, self._limits))
        steps = self._steps(here)
        after = _violation(now + steps.changes, self._limits)
        better = np.flatnonzero(_better(after, steps.losses, violation))
        ranked = (steps.moves[i] for i in better[np.lexsort((steps.losses[better], after[better]))])
        best = next((moves for moves in ranked if self._allowed(here, moves)), None)
        return best or self._best_pair(here, now, violation, steps)

    def _best_pair(self, here: dict[str, int], now: NDArray[np.float64], violation: float, steps: _Steps) -> Moves:
        """The pair of steps of least loss that holds up exactly, among those that do when their changes are added."""
        wider, narrower = np.flatnonzero(steps.losses < 0.0), np.flatnonzero(steps.losses >= 0.0)
        losses = np.add.outer(steps.losses[wider], steps.losses[narrower])
        after = _violation(now + steps.changes[wider, np.newaxis] + steps.changes[narrower], self._limits)
        better = np.argwhere((losses < 0.0) & _better(after, losses, violation))
        ranked = better[np.lexsort((losses[*better.T], after[*better.T]))]
        pairs = ((steps.moves[wider[i]], steps.moves[narrower[j]], losses[i, j]) for i, j in ranked)
        distinct = ((first | second, loss) for first, second, loss in pairs if first.keys() != second.keys())
        moves: Moves
        for moves, loss in itertools.islice(distinct, _TRIED):
            exact = _violation(now + self._changes(here, moves), self._limits)
            if _better(exact, loss, violation) and self._allowed(here, moves):
                return moves
        return {}

    def _allowed(self, here: dict[str, int], moves: Moves) -> bool:
        return not self._avoid or {**here, **moves} not in self._avoid

    def _steps(self, here: dict[str, int]) -> _Steps:
        """Every group to its next wider and narrower candidate."""
        found = list(self._neighbours(here))
        changes = [self._changes(here, moves) for moves, _ in found]
        return _Steps(
            moves=[moves for moves, _ in found],
            losses=np.array([loss for _, loss in found]),
            changes=np.array(changes).reshape(len(found), len(self._limits)),
        )

    def _neighbours(self, here: dict[str, int]) -> Iterator[tuple[Moves, float]]:
        for choice in self._choices:
            index = choice.widths.index(here[choice.group])
            for other in (index - 1, index + 1):
                if 0 <= other < len(choice.widths) and choice.widths[other] and choice.widths[index]:
                    yield {choice.group: choice.widths[other]}, float(choice.loss[other] - choice.loss[index])

    def _changes(self, here: dict[str, int], moves: Moves) -> NDArray[np.float64]:
        return np.array([predictor.change(here, moves) for predictor in self._predictors])


@dataclass(frozen=True, slots=True)
class _Node:
    """A node's cost, remembered at the widths it was asked for."""

    node: CostNode
    groups: tuple[str, ...]
    known: dict[tuple[int, ...], float]

    def cost(self, widths: dict[str, int]) -> float:
        key = tuple([widths[group] for group in self.groups])
        if key not in self.known:
            self.known[key] = self.node.cost_ms(widths)
        return self.known[key]


class _Predictor:
    """A latency model's changes, from the nodes that a move touches."""

    def __init__(self, model: LatencyModel) -> None:
        self._touched: dict[str, dict[int, _Node]] = defaultdict(dict)
        for index, node in enumerate(model.nodes):
            remembered = _Node(node, tuple(node.groups), {})
            for group in remembered.groups:
                self._touched[group][index] = remembered

    def change(self, here: dict[str, int], moves: Moves) -> float:
        """The ms that the moves add."""
        there = {**here, **moves}
        nodes = {index: node for group in moves for index, node in self._touched[group].items()}
        return sum(node.cost(there) - node.cost(here) for node in nodes.values())


def _violation(latencies: NDArray[np.float64], limits: Sequence[Limit]) -> NDArray[np.float64]:
    """How far the latencies (ms, ... x targets) lie outside their limits, in shares of the upper ones."""
    low, high = np.array([(limit.low, limit.high) for limit in limits]).T
    total = (np.maximum(np.maximum(latencies - high, low - latencies), 0.0) / high).sum(axis=-1)
    return np.where(total > _TOLERANCE, total, 0.0)


def _better(violation: NDArray[np.float64], loss: NDArray[np.float64], than: float) -> NDArray[np.bool_]:
    """Nearer to the limits, or as near with less loss."""
    return (violation < than - _TOLERANCE) | ((violation <= than) & (loss < -_TOLERANCE))
