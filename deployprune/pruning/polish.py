"""Local search on the exact predictions: it mends what linearisation missed, a step or two at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    return _violation([limit.model.predict_ms(dict(widths)) for limit in limits], limits) == 0.0


def polish(
    widths: Mapping[str, int],
    choices: Sequence[Choice],
    limits: Sequence[Limit],
    avoid: Sequence[Mapping[str, int]] = (),
) -> dict[str, int]:
    """Better widths near ``widths``: first nearer to the limits, then of less loss, and none of ``avoid``.

    Tries to move one group to a neighbouring candidate, or one wider and another narrower, and takes the best until
    nothing helps. Which branches are left out is not touched: their groups would have to move together.
    """
    here = dict(widths)
    search = _Search(choices, limits, avoid)
    for _ in range(_MOVES):
        moves = search.best_moves(here)
        if not moves:
            break
        here.update(moves)
    return here


class _Search:
    def __init__(self, choices: Sequence[Choice], limits: Sequence[Limit], avoid: Sequence[Mapping[str, int]]) -> None:
        self._choices = choices
        self._limits = limits
        self._avoid = avoid
        self._predictors = [_Predictor(limit.model) for limit in limits]

    def best_moves(self, here: dict[str, int]) -> Moves:
        """The best step, or pair of steps, from here; none where nothing is better."""
        now = [limit.model.predict_ms(here) for limit in self._limits]
        violation = _violation(now, self._limits)
        steps = [(moves, loss, self._changes(here, moves)) for moves, loss in self._steps(here)]
        scored = [(self._after(now, changes), loss, moves) for moves, loss, changes in steps]
        allowed = ((v, loss, i) for i, (v, loss, moves) in enumerate(scored) if self._allowed(here, moves))
        best = min(allowed, default=None)
        if best is not None and _better(best[0], best[1], violation):
            return scored[best[2]][2]
        return self._best_pair(here, now, violation, steps)

    def _best_pair(
        self, here: dict[str, int], now: list[float], violation: float, steps: list[tuple[Moves, float, list[float]]]
    ) -> Moves:
        """The pair of steps of least loss that holds up exactly, among those that do when their changes are added."""
        ranked: list[tuple[float, float, int, Moves]] = []
        for first, gained, faster in steps:
            for second, lost, slower in steps:
                if gained < 0.0 <= lost and gained + lost < 0.0 and first.keys() != second.keys():
                    changes = [a + b for a, b in zip(faster, slower, strict=True)]
                    ranked.append((self._after(now, changes), gained + lost, len(ranked), {**first, **second}))
        for estimate, loss, _, moves in sorted(ranked)[:_TRIED]:
            if not _better(estimate, loss, violation):
                break
            exact = self._after(now, self._changes(here, moves))
            if _better(exact, loss, violation) and self._allowed(here, moves):
                return moves
        return {}

    def _allowed(self, here: dict[str, int], moves: Moves) -> bool:
        return not self._avoid or {**here, **moves} not in self._avoid

    def _steps(self, here: dict[str, int]) -> Iterator[tuple[Moves, float]]:
        for choice in self._choices:
            index = choice.widths.index(here[choice.group])
            for other in (index - 1, index + 1):
                if 0 <= other < len(choice.widths) and choice.widths[other] and choice.widths[index]:
                    yield {choice.group: choice.widths[other]}, float(choice.loss[other] - choice.loss[index])

    def _changes(self, here: dict[str, int], moves: Moves) -> list[float]:
        return [predictor.change(here, moves) for predictor in self._predictors]

    def _after(self, now: Sequence[float], changes: Sequence[float]) -> float:
        return _violation([ms + change for ms, change in zip(now, changes, strict=True)], self._limits)


class _Predictor:
    """A latency model's changes, from the nodes that a move touches, each remembered at the widths it was asked for."""

    def __init__(self, model: LatencyModel) -> None:
        self._known: dict[tuple[int, tuple[int, ...]], float] = {}
        self._touched: dict[str, list[tuple[int, CostNode]]] = defaultdict(list)
        for index, node in enumerate(model.nodes):
            for group in node.groups:
                self._touched[group].append((index, node))

    def change(self, here: dict[str, int], moves: Moves) -> float:
        """The ms that the moves add."""
        there = {**here, **moves}
        nodes = dict(item for group in moves for item in self._touched[group])
        return sum(self._cost(i, node, there) - self._cost(i, node, here) for i, node in nodes.items())

    def _cost(self, index: int, node: CostNode, widths: dict[str, int]) -> float:
        key = (index, tuple(widths[group] for group in node.groups))
        if key not in self._known:
            self._known[key] = node.cost_ms(widths)
        return self._known[key]


def _violation(latencies: Sequence[float], limits: Sequence[Limit]) -> float:
    """How far the latencies lie outside their limits, in shares of the upper ones."""
    excess = [
        max(ms - limit.high, limit.low - ms, 0.0) / limit.high for ms, limit in zip(latencies, limits, strict=True)
    ]
    total = sum(excess)
    return total if total > _TOLERANCE else 0.0


def _better(violation: float, loss: float, than: float) -> bool:
    """Nearer to the limits, or as near with less loss."""
    return violation < than - _TOLERANCE or (violation <= than and loss < -_TOLERANCE)
