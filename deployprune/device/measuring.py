"""The suite on one backend: every cell in interleaved rounds with a reference layer, until the time is up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deployprune.backends.base import Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of
from deployprune.device.definitions import write_model
from deployprune.device.identity import describe_device
from deployprune.device.layers import Definition
from deployprune.device.records import Cell, DeviceTable, Sweep, ThreadRun, quiet_ms
from deployprune.device.staircase import fit_table
from deployprune.device.suite import MIDDLE, REFERENCE, SUITE_VERSION, THREADED, WIDE, cells_by_level
from deployprune.profiling.measure import measure_interleaved
from deployprune.progress import Task
from deployprune.records import Target

__all__ = ["measure_cells", "measure_device"]

Wanted = Mapping[str, tuple[Definition, int, int]]
"""By name: a definition, its width, and the threads it is to run with."""

_REFERENCE = "reference"
_ROUNDS = 9
_TRIES = 3
_DISTURBED = 1.1  # a batch whose reference took so much longer than the quietest one's
_WARM_UP = 3
_SAMPLE_MS = 2.0
_DIGITS = 5  # of a sample, in the file


def measure_device(target: Target, *, budget_s: float, seed: int, task: Task) -> DeviceTable:
    """Time the suite for at most about ``budget_s`` seconds, and learn from it.

    What there was no time for is not in the table; time that is left goes to what was disturbed most. Raises
    BackendUnavailableError, and UsageError for a target that the backend cannot honour.
    """
    started = time.monotonic()
    planned = [_Batch(definition, widths) for definition, widths in cells_by_level()]
    with TemporaryDirectory(prefix="deployprune-suite-") as folder:
        bench = _Bench(target, Path(folder), seed, task, started, budget_s)
        threads = tuple(bench.measure_threads())
        batches = bench.repeat_disturbed(bench.measure_all(planned))
    table = DeviceTable(
        target=target,
        runtime_version=backend_of(target).availability().version or "",
        host=describe_device(device_of(target.device)),
        suite=SUITE_VERSION,
        planned_cells=sum(len(batch.widths) for batch in planned),
        reference=REFERENCE,
        reference_width=WIDE,
        channel_step=1,
        noise=0.0,
        drift=0.0,
        seconds=round(time.monotonic() - started, 1),
        reference_ms=tuple(batch.samples[_REFERENCE] for batch in batches),
        sweeps=tuple(_sweeps(batches)),
        threads=threads,
    )
    return fit_table(table)


def measure_cells(
    wanted: Wanted, target: Target, folder: Path, *, rounds: int, seed: int
) -> dict[str, tuple[float, ...]]:
    """Samples in ms of every wanted cell, one a round, all in the same rounds."""
    backend = backend_of(target)
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for index, (name, (definition, width, threads)) in enumerate(wanted.items()):
            path = write_model(definition, width, target.batch, backend, folder / f"cell-{index}")
            session = stack.enter_context(backend.open(path, replace(target, threads=threads)))
            session.bind(random_feeds(session.inputs, seed))
            sessions[name] = session
        measured = measure_interleaved(sessions, rounds=rounds, warmup=_WARM_UP, seed=seed, min_round_ms=_SAMPLE_MS)
    return {name: _rounded(measured[name].samples_ms) for name in wanted}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Widths of one definition that are timed in the same rounds, and their samples beside the reference's."""

    definition: Definition
    widths: tuple[int, ...]
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def reference_ms(self) -> float:
        return quiet_ms(self.samples[_REFERENCE])


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where and how the suite is timed, and for how long."""

    target: Target
    folder: Path
    seed: int
    task: Task
    started: float
    budget_s: float

    def measure_all(self, planned: Sequence[_Batch]) -> list[_Batch]:
        """The batches in order, one at least, until the time is up."""
        done: list[_Batch] = []
        for batch in planned:
            if done and self.spent >= 1.0:
                break
            self.task.update(max(min(self.spent, 1.0), len(done) / len(planned)), note=batch.definition.name)
            done.append(self.measure(batch))
        return done

    def repeat_disturbed(self, batches: list[_Batch]) -> list[_Batch]:
        """Measure again where the reference was slowest, while there is time, and keep the quieter one."""
        best = min(batch.reference_ms for batch in batches)
        tries = dict.fromkeys(range(len(batches)), 0)
        while self.spent < 1.0:
            index = max(tries, key=lambda i: batches[i].reference_ms if tries[i] < _TRIES else 0.0)
            if tries[index] >= _TRIES or batches[index].reference_ms < _DISTURBED * best:
                break
            self.task.update(self.spent, note=f"{batches[index].definition.name}, again")
            tries[index] += 1
            batches[index] = min(batches[index], self.measure(batches[index]), key=lambda batch: batch.reference_ms)
        return batches

    def measure(self, batch: _Batch) -> _Batch:
        """The batch with its samples."""
        threads = self.target.threads
        wanted = {str(width): (batch.definition, width, threads) for width in batch.widths}
        return replace(batch, samples=self.times({_REFERENCE: (REFERENCE, WIDE, threads), **wanted}))

    def measure_threads(self) -> Iterable[ThreadRun]:
        """Some layers with 1, 2, 4 and so on threads, up to one a core."""
        cores = device_of(self.target.device).host().cores
        counts = sorted({cores, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)})
        for definition in (REFERENCE, *THREADED):
            width = WIDE if definition == REFERENCE else MIDDLE
            samples = self.times({str(count): (definition, width, count) for count in counts})
            for count in counts:
                yield ThreadRun(definition=definition, width=width, threads=count, samples_ms=samples[str(count)])

    def times(self, wanted: Wanted) -> dict[str, tuple[float, ...]]:
        """Samples of everything wanted, by name."""
        return measure_cells(wanted, self.target, self.folder, rounds=_ROUNDS, seed=self.seed)

    @property
    def spent(self) -> float:
        """The share of the time that is over."""
        return (time.monotonic() - self.started) / self.budget_s


def _sweeps(batches: Iterable[_Batch]) -> Iterable[Sweep]:
    cells: dict[Definition, list[Cell]] = {}
    for index, batch in enumerate(batches):
        found = (Cell(width=w, batch=index, samples_ms=batch.samples[str(w)]) for w in batch.widths)
        cells.setdefault(batch.definition, []).extend(found)
    return (Sweep(definition=definition, cells=tuple(found)) for definition, found in cells.items())


def _rounded(samples: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{sample:.{_DIGITS}g}") for sample in samples)
