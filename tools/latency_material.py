"""What the latency benchmarks share: a network on the bench, its variants as files, and its measured table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from latency_models import MODELS

from deployprune.config import load_config
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.variants import Variants
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.fit import learn_channel_step
from deployprune.profiling.table import choose_variants
from deployprune.progress import SilentObserver
from deployprune.records import ChannelGroup, LatencyTable, Target, VariantRun

__all__ = ["Conditions", "Measured", "choose_unseen", "make_bench", "measure", "print_rows", "variants_of"]

_STEPS = (1, 8, 16, 1)  # channels between the widths of successive unseen variants


@dataclass(frozen=True)
class Conditions:
    """What a benchmark is to run on."""

    models: tuple[str, ...]
    backends: tuple[str, ...]
    threads: tuple[int, ...]
    variants: int
    unseen: int
    comparisons: int

    def cases(self) -> Iterator[tuple[str, str, int]]:
        """Every model on every backend with every number of threads."""
        for model in self.models:
            for threads in self.threads:
                for backend in self.backends:
                    yield model, backend, threads


@dataclass(frozen=True)
class Measured:
    """A table, and runs of variants that it was not fitted to, measured together."""

    table: LatencyTable
    unseen: tuple[VariantRun, ...]
    whole_runs: int


def make_bench(model: str, backend: str, threads: int) -> Workbench:
    """The network with its analysis, for one target."""
    settings = {"target.backends": [backend], "target.threads": threads, "table.budget_seconds": 240.0}
    return Workbench(load_config(None, settings, {}), SilentObserver(), MODELS[model].build())


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


@contextmanager
def variants_of(bench: Workbench, count: int, unseen: int) -> Iterator[Variants]:
    """The variants that tables are made of, and behind them those that they are tried on."""
    widths = [*choose_variants(bench.groups, count, bench.config.seed), *choose_unseen(bench.groups, unseen)]
    with TemporaryDirectory(prefix="bench-latency-") as folder:
        yield Variants(bench, tuple(widths), Path(folder))


def measure(variants: Variants, target: Target, unseen: int) -> Measured:
    """Measure all variants in the same rounds, and split off the unseen ones."""
    with SilentObserver().step("") as task:
        whole = measure_table(variants, target, task)
    count = len(whole.runs) - unseen
    seen = replace(whole, runs=whole.runs[:count], seconds=whole.seconds * count / len(whole.runs))
    step = learn_channel_step(seen, variants.bench.analysis.record)
    samples = sum(len(run.samples_ms) for run in seen.runs)
    return Measured(table=replace(seen, channel_step=step), unseen=whole.runs[count:], whole_runs=samples)


def print_rows(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    """A Markdown table, row by row as they come."""
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
    print()
