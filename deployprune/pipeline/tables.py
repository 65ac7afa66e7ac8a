"""Latency tables measured in context: whole-model variants, as they ship, timed in turn with dense."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from deployprune.backends.base import Backend, Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of, fresh_backend
from deployprune.pipeline.variants import Variants
from deployprune.profiling.conformal import conformal_error
from deployprune.profiling.fit import learn_channel_step
from deployprune.profiling.measure import measure_interleaved
from deployprune.profiling.totals import joint_totals
from deployprune.progress import Task
from deployprune.records import LatencyTable, Measurement, NodeTime, Target, VariantRun
from deployprune.stats import split_half_noise

__all__ = ["bound_session", "draw_feeds", "measure_table", "measuring_seconds", "time_nodes"]

_TOGETHER = 7  # variants timed in the same rounds, beside dense
_PASSES = 3  # over all variants, in other company: a machine is for minutes unlike itself, which no pairing cancels
_WORTHWHILE = 0.6  # of the seconds of the pass before: what another is begun for
_FEWEST_ROUNDS = 2  # in a pass
_WARM_UP = 3
_SAMPLE_MS = 2.0
_PROFILE_MS = 200.0  # of runs under the runtime's own timer, per variant
_PROFILE_RUNS = (10, 60)  # at least and at most: to read what a runtime wrote of them takes as long again
_MEASURING_SHARE = 0.4  # of the time that a table may take, however long its files take
_PROFILE_SHARE = 0.3  # of the time for measuring
_FILES_DONE = 0.3  # of the progress that is shown

Feeds = dict[str, np.ndarray]
Block = dict[int, Measurement]
"""Some variants, by index, that were timed in the same rounds; dense, 0, is always one of them."""


def measure_table(variants: Variants, target: Target, budget_s: float, task: Task) -> LatencyTable:
    """Measure one target's table in ``budget_s`` seconds, where they allow for two rounds of every variant.

    Files that are still to be made are part of it, see :func:`measuring_seconds`.
    """
    started = time.monotonic()
    variants.write_all([backend_of(target)], task, _FILES_DONE)
    left = measuring_seconds(budget_s, time.monotonic() - started)
    with fresh_backend(target) as backend:
        blocks, nodes = _measure_blocks(variants, backend, target, left, task)
    totals = joint_totals([{index: timed.samples_ms for index, timed in block.items()} for block in blocks])
    runs = []
    for index, widths in enumerate(variants.widths):
        own, dense = (_samples(which, [block for block in blocks if index in block]) for which in (index, 0))
        run = VariantRun(widths=widths, total_ms=totals[index], nodes=nodes[index], samples_ms=own, dense_ms=dense)
        runs.append(run)
    table = LatencyTable(
        target=target,
        host=device_of(target.device).host(),
        model_sha256=variants.bench.reference.sha256 or "",
        channel_step=1,
        noise=max(split_half_noise(block[0].samples_ms) for block in blocks),
        runs=tuple(runs),
        seconds=time.monotonic() - started,
    )
    task.update(1.0, note="how well it predicts")
    analysis = variants.bench.analysis.record
    stepped = replace(table, channel_step=learn_channel_step(table, analysis))
    return replace(stepped, interval=conformal_error(stepped, analysis))


def measuring_seconds(budget_s: float, files_s: float) -> float:
    """What files that took ``files_s`` seconds leave of a table's ``budget_s``: two fifths at least."""
    return max(budget_s - files_s, _MEASURING_SHARE * budget_s)


def _samples(index: int, blocks: Sequence[Block]) -> tuple[float, ...]:
    return tuple(sample for block in blocks for sample in block[index].samples_ms)


def _measure_blocks(
    variants: Variants, backend: Backend, target: Target, left: float, task: Task
) -> tuple[list[Block], dict[int, tuple[NodeTime, ...]]]:
    """The variants' times in passes, as far as the seconds ``left`` last, and their nodes' times, of the first one."""
    config = variants.bench.config
    passes = [_shared_out(len(variants.widths), config.seed + number) for number in range(_PASSES)]
    feeds = draw_feeds(variants.path(0, backend), backend, target, config.seed)
    blocks: list[Block] = []
    nodes: dict[int, tuple[NodeTime, ...]] = {}
    for number, parts in enumerate(passes):
        pass_s = 0.0
        for position, indices in enumerate(parts):
            done = len(blocks) / (_PASSES * len(parts))
            task.update(_FILES_DONE + (0.95 - _FILES_DONE) * done, note=f"pass {number + 1} of {_PASSES}")
            further = len(parts) * (_PASSES - number) - position
            share = (1.0 - _PROFILE_SHARE if number == 0 else 1.0) * left / further
            began = time.monotonic()
            blocks.append(_time_block(variants, indices, backend, target, share, config.seed + len(blocks)))
            pass_s += time.monotonic() - began
            for index in (index for index in indices if index not in nodes):
                p50 = blocks[-1][index].p50
                nodes[index] = time_nodes(variants.path(index, backend), backend, target, feeds, p50)
            left -= time.monotonic() - began
        if left < _WORTHWHILE * pass_s:
            break
    return blocks, nodes


def _shared_out(count: int, seed: int) -> list[list[int]]:
    """The variants but dense, in random order, a few at a time, each time behind dense."""
    order = list(range(1, count))
    random.Random(seed).shuffle(order)  # noqa: S311
    return [[0, *order[start : start + _TOGETHER]] for start in range(0, max(len(order), 1), _TOGETHER)]


def _time_block(
    variants: Variants, indices: Sequence[int], backend: Backend, target: Target, budget_s: float, seed: int
) -> Block:
    """Samples of these variants, opened anew and in turns; past ``budget_s``, opening included, no round begins."""
    config = variants.bench.config
    deadline = time.monotonic() + budget_s
    with ExitStack() as stack:
        sessions = {
            str(index): stack.enter_context(bound_session(backend, variants.path(index, backend), target, config.seed))
            for index in indices
        }
        measured = measure_interleaved(
            sessions,
            rounds=max(math.ceil(config.table.rounds / _PASSES), _FEWEST_ROUNDS),
            warmup=_WARM_UP,
            seed=seed,
            min_round_ms=_SAMPLE_MS,
            budget_s=deadline - time.monotonic(),
        )
    return {index: measured[str(index)] for index in indices}


def draw_feeds(path: Path, backend: Backend, target: Target, seed: int) -> Feeds:
    """Random inputs of the model in ``path``, and so of all its variants."""
    with backend.open(path, target) as session:
        return random_feeds(session.inputs, seed)


def time_nodes(path: Path, backend: Backend, target: Target, feeds: Feeds, total_ms: float) -> tuple[NodeTime, ...]:
    """The file's nodes by the runtime's own timer, over about 0.2 s of inferences of ``total_ms`` each."""
    least, most = _PROFILE_RUNS
    runs = min(most, max(least, round(_PROFILE_MS / total_ms)))
    return backend.node_times(path, target, feeds, runs)


@contextmanager
def bound_session(backend: Backend, path: Path, target: Target, seed: int) -> Iterator[Session]:
    """A session with random inputs bound, ready to be timed."""
    with backend.open(path, target) as session:
        session.bind(random_feeds(session.inputs, seed))
        yield session
