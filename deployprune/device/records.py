"""The table of a device: raw samples of every layer that was timed, and what was learned from them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from deployprune.device.layers import Definition
from deployprune.records import Host, Ratio, Target, Verdict, quantile

__all__ = [
    "Cell",
    "CellCheck",
    "DeviceCheck",
    "DeviceTable",
    "Staircase",
    "Sweep",
    "ThreadRun",
    "quiet_ms",
]


def quiet_ms(samples: tuple[float, ...]) -> float:
    """The lower quartile: what else runs on the machine can only add to a sample."""
    return quantile(samples, 0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One width of a sweep: its samples in ms, one a round, timed in the same rounds as ``reference_ms[batch]``."""

    width: int
    batch: int
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staircase:
    """Latency against width: ``constant + slope * width`` with the width rounded up to ``step`` channels.

    Widths that are no multiples of ``alignment`` follow a law of their own; with alignment 1 both laws are the same.
    ``error`` is the mean relative error by cross-validation.
    """

    step: int
    alignment: int
    aligned: tuple[float, float]
    unaligned: tuple[float, float]
    error: float

    def predict_ms(self, width: int) -> float:
        """The whole definition's latency at ``width`` channels."""
        constant, slope = self.unaligned if width % self.alignment else self.aligned
        return constant + slope * (-(-width // self.step) * self.step)

    def cliff(self, width: int) -> float:
        """How much longer it takes off the alignment than on it, near ``width``: 0.3 is 30 % longer."""
        off = self.unaligned[0] + self.unaligned[1] * width
        return off / (self.aligned[0] + self.aligned[1] * width) - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One definition at several widths, and the law they follow (None where they are too few to tell)."""

    definition: Definition
    cells: tuple[Cell, ...]
    law: Staircase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadRun:
    """One definition at one width with a number of threads; the samples of a definition share their rounds."""

    definition: Definition
    width: int
    threads: int
    samples_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTable:
    """What one runtime does on one machine, over the reference suite.

    ``reference_ms`` are the samples of one reference layer, a batch of cells each: by them, drift between the batches
    cancels out. ``channel_step`` is the one on which all sweeps together are explained best.
    """

    target: Target
    runtime_version: str
    host: Host
    suite: int
    planned_cells: int
    reference: Definition
    reference_width: int
    channel_step: int
    noise: float
    drift: float
    seconds: float
    reference_ms: tuple[tuple[float, ...], ...]
    sweeps: tuple[Sweep, ...]
    threads: tuple[ThreadRun, ...]

    @property
    def reference_quiet_ms(self) -> float:
        """The reference layer's latency in ms over the whole measurement."""
        return median(map(quiet_ms, self.reference_ms))

    def cell_ms(self, cell: Cell) -> float:
        """A cell's latency in ms: relative to the reference in the same rounds, times the reference's own."""
        return quiet_ms(cell.samples_ms) / quiet_ms(self.reference_ms[cell.batch]) * self.reference_quiet_ms

    def points(self, sweep: Sweep) -> dict[int, float]:
        """A sweep's latency in ms by width; of tables that were merged, the one whose machine was quieter counts."""
        found: dict[int, Cell] = {}
        for cell in sorted(sweep.cells, key=lambda cell: (cell.width, -quiet_ms(self.reference_ms[cell.batch]))):
            found[cell.width] = cell
        return {width: self.cell_ms(cell) for width, cell in found.items()}

    def gmacs(self, definition: Definition, width: int, ms: float) -> float:
        """Throughput in GMAC/s: 10^9 multiply-accumulate operations a second."""
        return definition.macs(width) * self.target.batch / ms / 1e6

    @property
    def peak_gmacs(self) -> float:
        """The machine's measured peak under this target: the throughput of the fastest cell, reference included."""
        found = [self.gmacs(self.reference, self.reference_width, self.reference_quiet_ms)]
        found += [self.gmacs(s.definition, c.width, self.cell_ms(c)) for s in self.sweeps for c in s.cells]
        return max(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCheck:
    """One cell measured again: its latency now over the table's, and its place relative to all the others checked."""

    definition: Definition
    width: int
    table_ms: float
    now_ms: float
    ratio: Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCheck:
    """Whether a table still holds: the device's speed now over the table's, and every cell that was measured again."""

    verdict: Verdict
    reason: str
    speed: Ratio
    noise: float
    tolerance: float
    cells: tuple[CellCheck, ...]
