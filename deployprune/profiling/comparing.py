"""How long files take relative to one of them, with the luck of opening a file inside the interval."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from deployprune.backends.base import Backend, Session
from deployprune.backends.feeds import random_feeds
from deployprune.errors import UsageError
from deployprune.profiling.measure import measure_interleaved
from deployprune.records import Measurement, Ratio, Target
from deployprune.stats import half_width, ratio_over_blocks

__all__ = ["compare_files"]

_BLOCKS = 5  # before the first look at the intervals: with fewer, Student's interval is too wide to tell anything
_FEWEST = 3  # where the time is up: Student's interval over two is three times as wide again
_FEWEST_ROUNDS = 2
_WARM_UP = 3  # inferences of every session in every block: the first one allocates
_GROWTH = 1.5  # blocks between two looks at the intervals: few looks, and never much more rounds than needed
_ROUND_MS = 2.0
Decision = Callable[[dict[str, Ratio]], bool]
Block = dict[str, Measurement]


def compare_files(
    backend: Backend,
    target: Target,
    paths: Mapping[str, Path],
    baseline: str,
    *,
    half_width: float,
    min_rounds: int,
    max_rounds: int,
    budget_s: float,
    seed: int,
    decided: Decision | None = None,
) -> dict[str, tuple[Measurement, Ratio]]:
    """Time the files of ``paths`` (role to file) in blocks until every ratio to ``baseline`` is known well enough.

    A block opens every file anew, in random order: the session that is opened first is often the slower one of two of
    the same file (measured: 0.3 to 0.7 %), and two rounds of the same sessions are not independent. Blocks are added
    until every interval's relative half width is at most ``half_width``, until ``decided`` says so of the ratios, or
    after ``max_rounds`` or ``budget_s`` seconds, whichever comes first; never before ``min_rounds`` and five blocks
    unless the time is up, and never with fewer than three. The baseline's own ratio is exactly 1.

    Returns the samples of all blocks, one behind the other, and the ratio of each role. Raises UsageError for an
    unknown baseline, and what the backend's ``open`` raises.
    """
    if baseline not in paths:
        raise UsageError(f"there is no file called {baseline!r}", hint=f"it must be one of {', '.join(paths)}")
    start, shuffle = time.monotonic(), random.Random(seed)  # noqa: S311
    rounds = max(math.ceil(min_rounds / _BLOCKS), _FEWEST_ROUNDS)
    most = max(max_rounds // rounds, _FEWEST)
    with ExitStack() as stack:  # the first session of a process also pays for what all later ones share
        _open(stack, backend, target, paths[baseline], seed).time_once()
    blocks: list[Block] = []
    goal = min(_BLOCKS, most)
    while True:
        while len(blocks) < goal and not _is_over(blocks, start + budget_s):
            blocks.append(_time_block(backend, target, paths, rounds, budget_s / (_BLOCKS + 1), shuffle, seed))
        ratios = {role: _ratio(role, blocks, baseline) for role in paths}
        finished = _precise(ratios.values(), half_width) or (decided is not None and decided(ratios))
        if finished or goal >= most or _is_over(blocks, start + budget_s):
            return {role: (_joined(role, blocks), ratios[role]) for role in paths}
        goal = min(math.ceil(goal * _GROWTH), most)


def _time_block(
    backend: Backend,
    target: Target,
    paths: Mapping[str, Path],
    rounds: int,
    budget_s: float,
    shuffle: random.Random,
    seed: int,
) -> Block:
    """Samples of all files, opened anew; past ``budget_s``, opening included, no further round begins."""
    deadline = time.monotonic() + budget_s
    order = list(paths)
    shuffle.shuffle(order)
    with ExitStack() as stack:
        sessions = {role: _open(stack, backend, target, paths[role], seed) for role in order}
        return measure_interleaved(
            sessions,
            rounds=rounds,
            warmup=_WARM_UP,
            seed=shuffle.getrandbits(32),
            min_round_ms=_ROUND_MS,
            budget_s=deadline - time.monotonic(),
        )


def _open(stack: ExitStack, backend: Backend, target: Target, path: Path, seed: int) -> Session:
    session = stack.enter_context(backend.open(path, target))
    session.bind(random_feeds(session.inputs, seed))
    return session


def _is_over(blocks: Sequence[Block], deadline: float) -> bool:
    return len(blocks) >= _FEWEST and time.monotonic() >= deadline


def _precise(ratios: Iterable[Ratio], limit: float) -> bool:
    return all(half_width(ratio) <= limit for ratio in ratios)


def _ratio(role: str, blocks: Sequence[Block], baseline: str) -> Ratio:
    if role == baseline:
        return Ratio(value=1.0, low=1.0, high=1.0)
    return ratio_over_blocks([(block[role].samples_ms, block[baseline].samples_ms) for block in blocks])


def _joined(role: str, blocks: Sequence[Block]) -> Measurement:
    return Measurement(samples_ms=tuple(sample for block in blocks for sample in block[role].samples_ms))
