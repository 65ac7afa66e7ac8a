"""Latency tables measured in context: whole-model variants, as they ship, timed in turn with dense."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deployprune.backends.base import Backend, Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of
from deployprune.pipeline.variants import Variants
from deployprune.profiling.conformal import conformal_error
from deployprune.profiling.fit import learn_channel_step
from deployprune.profiling.measure import measure_interleaved
from deployprune.profiling.totals import QUIET, paired_totals
from deployprune.progress import Task
from deployprune.records import LatencyTable, NodeTime, Target, VariantRun, quantile
from deployprune.stats import split_half_noise

__all__ = ["bound_session", "measure_table", "time_nodes"]

_TOGETHER = 7  # variants timed in the same rounds, beside dense
_SAMPLE_MS = 2.0
_PROFILE_MS = 300.0  # of runs under the runtime's own timer, per variant
_DISTURBED = 1.04  # times dense's latency in the quietest batch
_PROFILE_SHARE = 0.3  # of the time that a table may take


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """One variant's samples beside dense's of the same rounds, in ms, and its nodes' times."""

    samples: tuple[float, ...]
    dense: tuple[float, ...]
    nodes: tuple[NodeTime, ...]

    @property
    def quiet_ms(self) -> float:
        """The dense model's latency in these rounds."""
        return quantile(self.dense, QUIET)


def measure_table(variants: Variants, target: Target, task: Task) -> LatencyTable:
    """Measure one target's table, within the configured seconds where they allow for two rounds of every variant."""
    started = time.monotonic()
    backend = backend_of(target)
    batches = _measure_batches(variants, backend, target, task)
    timed = [batches[0][0], *(item for batch in batches for item in batch[1:])]
    totals = paired_totals([(item.samples, item.dense) for item in timed])
    runs = [
        VariantRun(widths=widths, total_ms=ms, nodes=item.nodes, samples_ms=item.samples, dense_ms=item.dense)
        for widths, ms, item in zip(variants.widths, totals, timed, strict=True)
    ]
    table = LatencyTable(
        target=target,
        host=device_of(target.device).host(),
        model_sha256=variants.bench.reference.sha256 or "",
        channel_step=1,
        noise=max(split_half_noise(item.dense) for item in timed),
        runs=tuple(runs),
        seconds=time.monotonic() - started,
    )
    task.update(1.0, note="how well it predicts")
    analysis = variants.bench.analysis.record
    stepped = replace(table, channel_step=learn_channel_step(table, analysis))
    return replace(stepped, interval=conformal_error(stepped, analysis))


def _measure_batches(variants: Variants, backend: Backend, target: Target, task: Task) -> list[list[_Timed]]:
    """The variants' times a few of them at once, each batch with dense first.

    A batch in which dense was slower than in the quietest one was disturbed: the worst is measured again, while the
    time lasts, and the quieter measurement stays.
    """
    count = len(variants.widths)
    batches = [[0, *range(start, min(start + _TOGETHER, count))] for start in range(1, max(count, 2), _TOGETHER)]
    left = variants.bench.config.table.budget_seconds
    found: list[list[_Timed]] = []
    for position, indices in enumerate(batches):
        task.update(0.8 * position / len(batches), note=f"variants {indices[0] + 1} to {indices[-1] + 1}")
        for index in indices:
            variants.path(index, backend)
        began = time.monotonic()
        found.append(_time_batch(variants, indices, backend, target, left / (len(batches) - position)))
        left -= time.monotonic() - began
    each = (variants.bench.config.table.budget_seconds - left) / len(batches)
    for turn in range(len(batches)):
        worst = max(range(len(batches)), key=lambda position: found[position][0].quiet_ms)
        if left < each or found[worst][0].quiet_ms < _DISTURBED * min(batch[0].quiet_ms for batch in found):
            break
        task.update(0.8 + 0.2 * turn / len(batches), note="what was disturbed, again")
        again = _time_batch(variants, batches[worst], backend, target, each)
        left -= each
        if again[0].quiet_ms >= found[worst][0].quiet_ms:
            break
        found[worst] = again
    return found


def _time_batch(
    variants: Variants, indices: Sequence[int], backend: Backend, target: Target, budget_s: float
) -> list[_Timed]:
    config = variants.bench.config
    began = time.monotonic()
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for index in indices:
            path = variants.path(index, backend)
            sessions[str(index)] = stack.enter_context(bound_session(backend, path, target, config.seed))
        measured = measure_interleaved(
            sessions,
            rounds=config.table.rounds,
            seed=config.seed + indices[-1],
            min_round_ms=_SAMPLE_MS,
            budget_s=(1.0 - _PROFILE_SHARE) * budget_s - (time.monotonic() - began),
        )
    dense = measured["0"].samples_ms
    timed = []
    for index in indices:
        own = measured[str(index)]
        nodes = time_nodes(variants.path(index, backend), backend, target, own.p50, config.seed)
        timed.append(_Timed(samples=own.samples_ms, dense=dense, nodes=nodes))
    return timed


def time_nodes(path: Path, backend: Backend, target: Target, total_ms: float, seed: int) -> tuple[NodeTime, ...]:
    """The file's nodes by the runtime's own timer, over about 0.3 s of inferences of ``total_ms`` each."""
    runs = min(200, max(10, round(_PROFILE_MS / total_ms)))
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed)
    return backend.node_times(path, target, feeds, runs)


@contextmanager
def bound_session(backend: Backend, path: Path, target: Target, seed: int) -> Iterator[Session]:
    """A session with random inputs bound, ready to be timed."""
    with backend.open(path, target) as session:
        session.bind(random_feeds(session.inputs, seed))
        yield session
