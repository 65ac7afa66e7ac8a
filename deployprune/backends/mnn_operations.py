"""MNN's operations timed by its callbacks, before and after each."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from deployprune.records import NodeTime

if TYPE_CHECKING:
    import numpy as np

__all__ = ["typical_times"]

_WARM_UP = 3
Shapes = tuple[tuple[int, ...], ...]
# Called with an operation's tensors and itself; True goes on.
Watcher = Callable[[list[Any], Any], bool]


class _Session(Protocol):
    """What is asked of a session of :mod:`deployprune.backends.mnn`."""

    def tensors(self, feeds: dict[str, np.ndarray]) -> list[Any]: ...

    def fill(self, tensors: list[Any]) -> None: ...

    def run_watched(self, before: Watcher, after: Watcher) -> None: ...


def typical_times(session: _Session, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
    """The median ms over ``runs`` of every operation, with the shapes of its tensors (constants are not among them)."""
    tensors = session.tensors(feeds)
    described = _describe(session, tensors)
    for _ in range(_WARM_UP):
        _time_operations(session, tensors)
    rounds = [_time_operations(session, tensors) for _ in range(runs)]
    return tuple(
        NodeTime(name=name, kind=kind, ms=median(samples), inputs=inputs, outputs=outputs)
        for (name, kind, inputs, outputs), samples in zip(described, zip(*rounds, strict=True), strict=True)
    )


def _time_operations(session: _Session, tensors: list[Any]) -> list[float]:
    """Milliseconds of every operation, in the order they run."""
    started: list[int] = []
    took: list[float] = []

    def before(_operands: list[Any], _operation: Any) -> bool:
        started.append(time.perf_counter_ns())
        return True

    def after(_results: list[Any], _operation: Any) -> bool:
        took.append((time.perf_counter_ns() - started[-1]) / 1e6)
        return True

    session.fill(tensors)
    session.run_watched(before, after)
    return took


def _describe(session: _Session, tensors: list[Any]) -> list[tuple[str, str, Shapes, Shapes]]:
    """Name, kind, and the shapes read and written of every operation, in the order they run."""
    described: list[tuple[str, str, Shapes, Shapes]] = []
    operands: list[Shapes] = []

    def before(read: list[Any], _operation: Any) -> bool:
        operands.append(tuple(tuple(tensor.getShape()) for tensor in read))
        return True

    def after(written: list[Any], operation: Any) -> bool:
        results = tuple(tuple(tensor.getShape()) for tensor in written)
        described.append((operation.getName(), operation.getType(), operands[-1], results))
        return True

    session.fill(tensors)
    session.run_watched(before, after)
    return described
