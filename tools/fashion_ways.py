"""The same network at the same latency, its widths chosen in other ways: all alike, and by MACs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from baselines import Importance, Widths, importance_kept, others_at_latency  # the script's own folder
from timing import ratios_to_dense
from torch import nn

from deployprune.backends.registry import backend_of
from deployprune.export.formats import get_format
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.recovering import recover
from deployprune.pipeline.scoring import score_units
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.variants import Variants
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import SilentObserver
from deployprune.pruning.candidates import kept_units
from deployprune.records import Ratio, Target
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, VERIFICATION
from deployprune.training.evaluate import accuracy

__all__ = ["print_ways"]

_SECONDS = 30.0
_NO_DATA = "bench_fashion: the run has no data"
_GLANCE = 5.0  # seconds of a comparison by which widths of the same latency are looked for


@dataclass(frozen=True)
class _Outcome:
    """What one way of choosing widths came to."""

    kept: float
    macs: float
    accuracy: float
    ratios: Mapping[str, Ratio]


def print_ways(runs: Mapping[str, Path]) -> None:
    """A row for every run (speed-up to folder), and for other ways that are recovered as it was, as Markdown."""
    print("\n| target | widths | importance kept | MACs | latency / dense | top-1 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for speedup, folder in runs.items():
        run = RunDirectory.view(folder)
        bench = Workbench(run.config, SilentObserver())
        importance = score_units(bench)
        _print_row(speedup, "table", _own(run, bench, importance))
        for way, widths in _others(run, bench, importance).items():
            _print_row(speedup, way, _recover(bench, importance, widths))


def _print_row(speedup: str, way: str, found: _Outcome) -> None:
    latency = ", ".join(f"{key.split('-')[0]} {ratio.value:.3f}" for key, ratio in found.ratios.items())
    cells = [speedup, way, f"{found.kept:.1%}", f"{found.macs:.1%}", latency, f"{found.accuracy:.2%}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def _own(run: RunDirectory, bench: Workbench, importance: Importance) -> _Outcome:
    """What the run came to, by its own records."""
    record, widths, targets = bench.analysis.record, run.read(PLAN).widths, run.read(VERIFICATION).targets
    found = next(card.accuracy for card in targets[0].cards if card.role == "candidate")
    if found is None:
        raise SystemExit(_NO_DATA)
    return _Outcome(
        kept=importance_kept(importance, widths),
        macs=record.macs_at(widths) / record.macs,
        accuracy=found.value,
        ratios={
            target_key(verified.target): comparison.ratio
            for verified in targets
            for comparison in verified.comparisons
            if comparison.role == "candidate"
        },
    )


def _others(run: RunDirectory, bench: Workbench, importance: Importance) -> dict[str, Widths]:
    """Other widths, of which no target was measured to take longer than the run's own plan."""
    own, step = run.read(PLAN).widths, max(table.channel_step for table in run.tables().values())
    with TemporaryDirectory(prefix="bench-fashion-") as folder:
        variants = Variants(bench, (bench.analysis.record.dense_widths(), own), Path(folder))

        def latency(widths: Widths) -> float:
            """As a share of the own plan's, on the target where that is largest."""
            return max(_share(variants, widths, target) for target in bench.targets)

        record = bench.analysis.record
        return others_at_latency(record, bench.groups, importance, latency, 1.0, channel_step=step)


def _share(variants: Variants, widths: Widths, target: Target) -> float:
    """The latency of these widths by that of the own plan's, timed in the same rounds."""
    backend, name = backend_of(target), "-".join(map(str, widths.values()))
    paths = {"dense": variants.path(0, backend), "own": variants.path(1, backend)}
    ratios = ratios_to_dense(target, {**paths, "other": variants.file(name, widths, backend)}, _GLANCE)
    return ratios["other"].value / ratios["own"].value


def _recover(bench: Workbench, importance: Importance, widths: Widths) -> _Outcome:
    kept = {name: kept_units(importance[name], width) for name, width in widths.items()}
    with SilentObserver().step("") as task:
        module, _ = recover(bench, kept, lambda: importance, None, task)
    record, data = bench.analysis.record, bench.data
    if data is None:
        raise SystemExit(_NO_DATA)
    return _Outcome(
        kept=importance_kept(importance, widths),
        macs=record.macs_at(widths) / record.macs,
        accuracy=accuracy(module, data).value,
        ratios=_measure(bench, module),
    )


def _measure(bench: Workbench, module: nn.Module) -> dict[str, Ratio]:
    """The module's files against the dense ones, on every target."""
    with TemporaryDirectory(prefix="bench-fashion-") as folder:
        write = _writer(bench, Path(folder))
        files = {"dense": write(bench.module, "dense"), "candidate": write(module, "candidate")}
        return {
            target_key(target): ratios_to_dense(
                target, {role: paths[target] for role, paths in files.items()}, _SECONDS
            )["candidate"]
            for target in bench.targets
        }


def _writer(bench: Workbench, folder: Path) -> Callable[[nn.Module, str], dict[Target, Path]]:
    formats = sorted({backend_of(target).format for target in bench.targets})

    def write(module: nn.Module, name: str) -> dict[Target, Path]:
        stem = folder / name
        write_formats(module, bench.examples(), bench.specs, stem, formats, static=False)
        return {target: get_format(backend_of(target).format).path(stem) for target in bench.targets}

    return write
