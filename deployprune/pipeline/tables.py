"""Latency tables measured in context: whole-model variants, exported as they ship, timed in turn with dense."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deployprune.backends.base import Backend, Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of
from deployprune.export.formats import get_format
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.fit import learn_channel_step
from deployprune.profiling.measure import measure_interleaved
from deployprune.profiling.table import choose_variants
from deployprune.progress import Task
from deployprune.records import LatencyTable, NodeTime, Target, VariantRun, quantile
from deployprune.stats import split_half_noise

__all__ = ["Variants", "bound_session", "export_widths", "first_units", "measure_table", "time_nodes", "variant_files"]

_TOGETHER = 7  # variants timed in the same rounds, beside dense
_SAMPLE_MS = 2.0
_QUIET = 0.25  # the quantile of the samples that counts
_PROFILE_MS = 300.0  # of runs under the runtime's own timer, per variant


@dataclass(frozen=True)
class Variants:
    """Variants of one model as files, exported on first use; ``widths[0]`` is dense."""

    bench: Workbench
    widths: tuple[dict[str, int], ...]
    folder: Path

    def path(self, index: int, backend: Backend) -> Path:
        """The file of variant ``index`` that ``backend`` opens."""
        stem = self.folder / f"variant-{index}"
        formats = sorted({backend_of(target).format for target in self.bench.targets})
        if not stem.with_suffix(".onnx").exists():
            export_widths(self.bench, self.widths[index], stem, formats)
        return get_format(backend.format).path(stem)


def first_units(widths: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The first units of every group: latency depends on how many stay, not on which."""
    return {name: tuple(range(width)) for name, width in widths.items()}


def export_widths(bench: Workbench, widths: dict[str, int], stem: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Export the model at these widths, for timing."""
    module = bench.analysis.prune_shapes(first_units(widths))
    return write_formats(module, bench.examples(), bench.specs, stem, formats, static=bench.config.export.static)


@contextmanager
def variant_files(bench: Workbench, count: int) -> Iterator[Variants]:
    """``count`` variants whose files are gone when the tables are measured."""
    chosen = choose_variants(bench.groups, count, bench.config.seed)
    with TemporaryDirectory(prefix="deployprune-variants-") as folder:
        yield Variants(bench, tuple(chosen), Path(folder))


def measure_table(variants: Variants, target: Target, task: Task) -> LatencyTable:
    """Measure one target's table.

    Totals are ratios to the dense model timed in the same rounds, times the median of its latency in all of them:
    drift between the batches of variants cancels out. They are of lower quartiles: work of other processes makes
    inferences slower, never faster, and the longer ones more often.
    """
    started = time.monotonic()
    backend = backend_of(target)
    totals, noise = _measure_totals(variants, backend, target, task)
    runs = []
    for index, widths in enumerate(variants.widths):
        task.update(0.7 + 0.3 * index / len(variants.widths), note=f"layers of variant {index + 1}")
        nodes = time_nodes(variants.path(index, backend), backend, target, totals[index], variants.bench.config.seed)
        runs.append(VariantRun(widths=widths, total_ms=totals[index], nodes=nodes))
    table = LatencyTable(
        target=target,
        host=device_of(target.device).host(),
        model_sha256=variants.bench.reference.sha256 or "",
        channel_step=1,
        noise=noise,
        runs=tuple(runs),
        seconds=time.monotonic() - started,
    )
    return replace(table, channel_step=learn_channel_step(table, variants.bench.analysis.record))


def _measure_totals(variants: Variants, backend: Backend, target: Target, task: Task) -> tuple[list[float], float]:
    config = variants.bench.config
    ratios: dict[int, float] = {0: 1.0}
    dense: list[float] = []
    noise: list[float] = []
    others = range(1, len(variants.widths))
    for start in range(0, len(others), _TOGETHER):
        chunk = [0, *others[start : start + _TOGETHER]]
        with ExitStack() as stack:
            sessions: dict[str, Session] = {}
            for index in chunk:
                task.update(0.7 * (start + len(sessions)) / len(variants.widths), note=f"variant {index + 1}")
                path = variants.path(index, backend)
                sessions[str(index)] = stack.enter_context(bound_session(backend, path, target, config.seed))
            measured = measure_interleaved(
                sessions, rounds=config.table.rounds, seed=config.seed + start, min_round_ms=_SAMPLE_MS
            )
        quiet = {int(name): quantile(measurement.samples_ms, _QUIET) for name, measurement in measured.items()}
        dense.append(quiet[0])
        noise.append(split_half_noise(measured["0"].samples_ms))
        ratios.update({index: quiet[index] / quiet[0] for index in chunk[1:]})
    scale = sorted(dense)[len(dense) // 2]
    return [ratios[index] * scale for index in range(len(variants.widths))], max(noise)


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
