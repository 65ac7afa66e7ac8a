"""What the latency benchmarks share: networks on the bench, measured once each, however many tables ask for them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import numpy as np
from latency_models import MODELS

from deployprune.backends.registry import backend_of
from deployprune.codec import decode, encode
from deployprune.config import load_config
from deployprune.files import write_atomic
from deployprune.options import TableConfig
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.spending import measuring_seconds
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.variants import Variants
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.fit import FittedLatency, fit_latency, learn_channel_step
from deployprune.profiling.table import choose_variants
from deployprune.progress import SilentObserver
from deployprune.records import ChannelGroup, LatencyTable, Target, VariantRun

__all__ = ["Case", "Conditions", "Recording", "Subject", "print_rows"]

_STEPS = (1, 8, 16, 1)  # channels between the widths of successive unseen variants
_COPIES = 3  # of every unseen variant, each timed as one of the table's is: an error is told by what is known better


@dataclass(frozen=True)
class Case:
    """A network, a backend and a number of threads."""

    model: str
    backend: str
    threads: int

    @property
    def cells(self) -> tuple[object, ...]:
        """The first cells of this case's rows."""
        return (self.model, self.backend, self.threads)


@dataclass(frozen=True)
class Recording:
    """A table, and runs of variants that it was not fitted to, measured together; seconds that making files took.

    The dense model's are not among them: every run exports it, and its tables find it there.
    """

    table: LatencyTable
    unseen: tuple[VariantRun, ...]
    file_seconds: float

    @property
    def samples(self) -> int:
        """Runs of whole models that the table took."""
        return sum(len(run.samples_ms) for run in self.table.runs)


@dataclass(frozen=True)
class Conditions:
    """What a benchmark is to run on; ``recordings`` is the folder in which measured tables are kept and found again."""

    cases: tuple[Case, ...]
    variants: int
    unseen: int
    runs: int
    comparisons: int
    recordings: Path

    @contextmanager
    def subject(self, case: Case) -> Iterator[Subject]:
        """The case's network, analysed, with a folder for its files."""
        settings = {"target.backends": [case.backend], "target.threads": case.threads}
        bench = Workbench(load_config(None, settings, {}), SilentObserver(), MODELS[case.model].build())
        seen = choose_variants(bench.groups, self.variants, bench.config.seed)
        with TemporaryDirectory(prefix="bench-latency-") as folder:
            unseen = tuple(choose_unseen(bench.groups, self.unseen))
            dense = _export_dense(bench, Path(folder))
            variants = Variants(bench, (*seen, *unseen * _COPIES), Path(folder), dense)
            yield Subject(case=case, variants=variants, first_unseen=len(seen), recordings=self.recordings)


@dataclass(frozen=True)
class Subject:
    """A network on one target: dense and the variants of its table as files, and behind them copies of the unseen."""

    case: Case
    variants: Variants
    first_unseen: int
    recordings: Path

    @property
    def bench(self) -> Workbench:
        """The network and its analysis."""
        return self.variants.bench

    @property
    def target(self) -> Target:
        """What it is measured on."""
        return self.bench.targets[0]

    @cached_property
    def dense(self) -> Path:
        """The dense network's file."""
        return self.variants.path(0, backend_of(self.target))

    @cached_property
    def recording(self) -> Recording:
        """What was measured of the variants: now, unless it was before."""
        unseen = (len(self.variants.widths) - self.first_unseen) // _COPIES
        place = self.recordings / f"{'-'.join(map(str, self.case.cells))}-{self.first_unseen}+{unseen}.json"
        if place.is_file():
            return decode(place.read_bytes(), Recording, name=place.name)
        found = self._measure()
        write_atomic(place, encode(found))
        return found

    @cached_property
    def fitted(self) -> FittedLatency:
        """The latency model of the recorded table."""
        return fit_latency(self.recording.table, self.bench.analysis.record)

    def _measure(self) -> Recording:
        """The table's part of the seconds is as by default, and the copies of the unseen variants have as much each."""
        backend, started = backend_of(self.target), time.monotonic()
        for index in range(self.first_unseen):
            self.variants.path(index, backend)
        file_seconds = time.monotonic() - started
        each = measuring_seconds(TableConfig().budget_seconds, file_seconds) / self.first_unseen
        with SilentObserver().step("") as task:
            self.variants.write_all([backend], task)
            whole = measure_table(self.variants, self.target, each * len(self.variants.widths), task)
        runs = whole.runs[: self.first_unseen]
        seen = replace(whole, runs=runs, seconds=whole.seconds * len(runs) / len(whole.runs))
        step = learn_channel_step(seen, self.bench.analysis.record)
        table = replace(seen, channel_step=step)
        copies = whole.runs[self.first_unseen :]
        count = len(copies) // _COPIES
        unseen = tuple(_joined(copies[index::count]) for index in range(count))
        return Recording(table=table, unseen=unseen, file_seconds=file_seconds)


def _export_dense(bench: Workbench, folder: Path) -> dict[str, Path]:
    """The dense model's files by format, as a run has them before it measures."""
    formats = [backend_of(target).format for target in bench.targets]
    static = bench.config.export.static
    return write_formats(bench.module, bench.examples(), bench.specs, folder / "dense", formats, static=static)


def _joined(copies: Sequence[VariantRun]) -> VariantRun:
    """What was measured of the copies of one variant, as one."""
    return replace(
        copies[0],
        total_ms=fmean(run.total_ms for run in copies),
        samples_ms=tuple(sample for run in copies for sample in run.samples_ms),
        dense_ms=tuple(sample for run in copies for sample in run.dense_ms),
    )


def choose_unseen(groups: Sequence[ChannelGroup], count: int, seed: int = 7) -> list[dict[str, int]]:
    """Random widths of 30 to 100 %: in turn any, multiples of 8, of 16, and any again."""
    rng = np.random.default_rng(seed)
    chosen = []
    for draw in range(count):
        widths = {}
        for group, share in zip(groups, rng.uniform(0.3, 1.0, len(groups)), strict=True):
            step = group.aligned_step(_STEPS[draw % len(_STEPS)])
            widths[group.name] = int(min(group.size, max(step, round(share * group.size / step) * step)))
        chosen.append(widths)
    return chosen


def print_rows(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    """A Markdown table, row by row as they come."""
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()
