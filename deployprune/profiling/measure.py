"""Interleaved timing: every round times every session once, in random order, so that drift hits all alike."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from deployprune.backends.base import Session, time_many
from deployprune.errors import UsageError
from deployprune.records import Measurement

__all__ = ["measure_interleaved"]

_WARM_UP = 5
_SHORT_MS = 8.0  # about what a scheduler's slice takes
_FEWEST = 3  # inferences in a sample of a model that is shorter
_SETTLING_MS, _MOST_SETTLING = 15.0, 12  # of a session, before what is counted: ms, and inferences at most


@dataclass(frozen=True, slots=True)
class _Turn:
    """How many inferences a session makes in one round: first those that settle it, then those that are counted."""

    settling: int
    counted: int


def measure_interleaved(
    sessions: Mapping[str, Session],
    *,
    rounds: int,
    warmup: int = _WARM_UP,
    seed: int = 0,
    min_round_ms: float = 0.0,
    budget_s: float = math.inf,
) -> dict[str, Measurement]:
    """Per session one sample a round, in ms of one inference; inputs must have been bound.

    A sample is the median of as many back-to-back inferences as ``min_round_ms`` holds of the session's own (at least
    one; at least three of a few ms, where one in three may lose its core to another process for a scheduler's slice),
    after some that are not counted: they bring back what the other sessions pushed out of the caches, as it is where a
    model runs alone. Those take 15 ms, and are one at least and twelve at most: on a machine whose memory others used
    as well, networks of 4 to 6 MB still took 10 to 30 % longer in the second inference than in the tenth.
    But for the first two no round begins that would not be over within ``budget_s`` seconds, as the one before took.
    Raises UsageError for no sessions, no rounds or a session with nothing bound.
    """
    if not sessions or rounds < 1:
        raise UsageError("nothing to measure: it takes a session and a round", hint="give at least one of each")
    deadline = time.monotonic() + budget_s
    with _no_collection():
        turns = _warm_up(sessions, warmup, min_round_ms)
        samples: dict[str, list[float]] = {name: [] for name in sessions}
        _add_rounds(samples, sessions, turns, rounds, random.Random(seed), deadline)  # noqa: S311
    return {name: Measurement(samples_ms=tuple(values)) for name, values in samples.items()}


def _warm_up(sessions: Mapping[str, Session], warmup: int, min_round_ms: float) -> dict[str, _Turn]:
    """The turns of each session, by what its warm-up took."""
    took = {name: median(time_many(session, max(warmup, 1))) for name, session in sessions.items()}
    return {
        name: _Turn(
            settling=min(math.ceil(_SETTLING_MS / ms), _MOST_SETTLING),
            counted=max(_FEWEST if min_round_ms and ms < _SHORT_MS else 1, math.ceil(min_round_ms / ms)),
        )
        for name, ms in took.items()
    }


def _add_rounds(
    samples: dict[str, list[float]],
    sessions: Mapping[str, Session],
    turns: Mapping[str, _Turn],
    rounds: int,
    shuffle: random.Random,
    deadline: float,
) -> None:
    """Append a sample of every session for each round; only the first two may end past the deadline."""
    order, took_s = list(sessions), 0.0
    for number in range(rounds):
        began = time.monotonic()
        if number >= 2 and began + took_s > deadline:
            return
        shuffle.shuffle(order)
        for name in order:
            samples[name].append(_sample(sessions[name], turns[name]))
        took_s = time.monotonic() - began


def _sample(session: Session, turn: _Turn) -> float:
    times = time_many(session, turn.settling + turn.counted)
    return median(times[turn.settling :] or times)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
