"""Latency tables measured in context: whole-model variants, as they ship, timed in turn with dense."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from deployprune.backends.base import Backend, Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of, fresh_backend
from deployprune.pipeline.node_times import NodeTimer, draw_feeds
from deployprune.pipeline.spending import Spending, measuring_seconds
from deployprune.pipeline.variants import Variants
from deployprune.profiling.conformal import conformal_error
from deployprune.profiling.fit import learn_channel_step
from deployprune.profiling.measure import measure_interleaved
from deployprune.profiling.totals import joint_totals, uncertainty
from deployprune.progress import Task
from deployprune.records import LatencyTable, Measurement, NodeTime, Target, VariantRun
from deployprune.stats import split_half_noise

__all__ = ["bound_session", "measure_table"]

_TOGETHER = 7  # variants timed in the same rounds, beside dense
_PASSES = 3  # over all variants, in other company: a machine is for minutes unlike itself, which no pairing cancels
_MOST_PASSES = 6  # where variants differ from pass to pass
_STEADY = 0.005  # relative: what totals may be unsure by, on average
_FEWEST_ROUNDS = 2  # in a pass
_WARM_UP = 3
_SAMPLE_MS = 2.0
_FILES_DONE = 0.3  # of the progress that is shown

Nodes = dict[int, tuple[NodeTime, ...]]


@dataclass(frozen=True, slots=True)
class Block:
    """Some variants, by index, that were timed in the same rounds; dense, 0, is always one of them."""

    measured: dict[int, Measurement]

    @property
    def samples(self) -> dict[int, tuple[float, ...]]:
        """The ms of every variant."""
        return {index: timed.samples_ms for index, timed in self.measured.items()}


def measure_table(variants: Variants, target: Target, budget_s: float, task: Task) -> LatencyTable:
    """Measure one target's table in ``budget_s`` seconds, where they allow for two rounds of every variant.

    Files that are still to be made are part of it, see :mod:`deployprune.pipeline.spending`.
    """
    started = time.monotonic()
    variants.write_all([backend_of(target)], task, _FILES_DONE)
    spending = Spending(measuring_seconds(budget_s, time.monotonic() - started))
    with fresh_backend(target) as backend:
        blocks, nodes = _measure_blocks(variants, backend, target, spending, task)
    totals = joint_totals([block.samples for block in blocks])
    runs = []
    for index, widths in enumerate(variants.widths):
        own, dense = (_samples(which, [block for block in blocks if index in block.measured]) for which in (index, 0))
        run = VariantRun(
            widths=widths, total_ms=totals[index], nodes=nodes.get(index, ()), samples_ms=own, dense_ms=dense
        )
        runs.append(run)
    table = LatencyTable(
        target=target,
        host=device_of(target.device).host(),
        model_sha256=variants.bench.reference.sha256 or "",
        channel_step=1,
        noise=max(split_half_noise(block.measured[0].samples_ms) for block in blocks),
        runs=tuple(runs),
        seconds=time.monotonic() - started,
    )
    task.update(1.0, note="how well it predicts")
    analysis = variants.bench.analysis.record
    stepped = replace(table, channel_step=learn_channel_step(table, analysis))
    return replace(stepped, interval=conformal_error(stepped, analysis))


def _samples(index: int, blocks: Sequence[Block]) -> tuple[float, ...]:
    return tuple(sample for block in blocks for sample in block.measured[index].samples_ms)


def _measure_blocks(
    variants: Variants, backend: Backend, target: Target, spending: Spending, task: Task
) -> tuple[list[Block], Nodes]:
    """The variants' times in passes, as far as the seconds last, and in the first one their nodes' times.

    Where these take longer than their share, they are taken of twenty variants, in random order and with dense. After
    the second pass, when totals are known better, those that were disturbed are taken again.
    """
    feeds = draw_feeds(variants.path(0, backend), backend, target, variants.bench.config.seed)
    timer = NodeTimer(variants, backend, target, spending, feeds)
    passes = _Passes(variants, backend, target, spending, task)
    for number in range(_MOST_PASSES):
        whole = passes.add(number, timer)
        if number == 1:
            timer.time_again(joint_totals([block.samples for block in passes.blocks]))
        if number <= 1:
            spending.end_profiling()
        done = number + 1 >= _PASSES and uncertainty([block.samples for block in passes.blocks]) <= _STEADY
        if done or not whole:
            break
    return passes.blocks, timer.nodes


@dataclass(frozen=True)
class _Passes:
    """Passes over all variants, in blocks of a few of them."""

    variants: Variants
    backend: Backend
    target: Target
    spending: Spending
    task: Task
    blocks: list[Block] = field(default_factory=list)

    def add(self, number: int, timer: NodeTimer) -> bool:
        """Add a pass, and in the first one the nodes' times; whether it was whole, as the first one always is."""
        seed = self.variants.bench.config.seed
        parts = _shared_out(len(self.variants.widths), self.blocks, seed + number)
        for position, indices in enumerate(parts):
            done = min(len(self.blocks) / (_PASSES * len(parts)), 1.0)
            self.task.update(_FILES_DONE + (0.95 - _FILES_DONE) * done, note=f"pass {number + 1}")
            if number and not self.spending.affords_another():
                return False
            in_pass = len(parts) - position
            planned = in_pass + len(parts) * max(_PASSES - 1 - number, 0)
            share = partial(self.spending.share, required=0 if number else in_pass, planned=planned)
            began = time.monotonic()
            block = _time_block(self.variants, indices, self.backend, self.target, share, seed + len(self.blocks))
            self.blocks.append(block)
            self.spending.spend_on_block(time.monotonic() - began)
            if not number:
                timer.time_once({index: block.measured[index].p50 for index in indices})
        return True


def _shared_out(count: int, blocks: Sequence[Block], seed: int) -> list[list[int]]:
    """The variants but dense, a few at a time and each time behind dense: at random, those timed least so far first."""
    order = list(range(1, count))
    random.Random(seed).shuffle(order)  # noqa: S311
    timed: Counter[int] = Counter()
    for block in blocks:
        timed.update({index: len(samples) for index, samples in block.samples.items()})
    order.sort(key=timed.__getitem__)
    return [[0, *order[start : start + _TOGETHER]] for start in range(0, max(len(order), 1), _TOGETHER)]


def _time_block(
    variants: Variants,
    indices: Sequence[int],
    backend: Backend,
    target: Target,
    share: Callable[[float], float],
    seed: int,
) -> Block:
    """Samples of these variants, opened anew and in turns.

    ``share`` gives the seconds for all of it by those that opening took; past them no round begins.
    """
    config, began = variants.bench.config, time.monotonic()
    with ExitStack() as stack:
        sessions = {
            str(index): stack.enter_context(bound_session(backend, variants.path(index, backend), target, config.seed))
            for index in indices
        }
        opening_s = time.monotonic() - began
        measured = measure_interleaved(
            sessions,
            rounds=max(math.ceil(config.table.rounds / _PASSES), _FEWEST_ROUNDS),
            warmup=_WARM_UP,
            seed=seed,
            min_round_ms=_SAMPLE_MS,
            budget_s=share(opening_s) - opening_s,
        )
    return Block(measured={index: measured[str(index)] for index in indices})


@contextmanager
def bound_session(backend: Backend, path: Path, target: Target, seed: int) -> Iterator[Session]:
    """A session with random inputs bound, ready to be timed."""
    with backend.open(path, target) as session:
        session.bind(random_feeds(session.inputs, seed))
        yield session
