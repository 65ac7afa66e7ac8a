"""Measurements and the conditions they hold under. Latency is in ms."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Availability", "DeviceSurvey", "Host", "Measurement", "Ratio", "Target", "quantile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The conditions under which a file is timed; the same for both sides of every comparison."""

    backend: str
    threads: int = 1
    precision: str = "f32"
    batch: int = 1
    device: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine that a measurement ran on."""

    cpu: str
    isa: tuple[str, ...]
    cores: int
    memory_bytes: int
    governor: str
    os: str
    python: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a backend can be used here; when not, ``hint`` is the command that installs it.

    ``needs`` are the distributions that running a file takes; what writes files may need more.
    """

    name: str
    available: bool
    version: str | None = None
    hint: str | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSurvey:
    """What a device has to offer; of one that does not answer, ``problem`` and ``hint`` say why and what to do.

    ``temperature_c`` is the hottest sensor's, None where none can be read.
    """

    device: str
    host: Host | None = None
    backends: tuple[Availability, ...] = ()
    temperature_c: float | None = None
    problem: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Raw latency samples of one artifact in ms, one a round, in the order of the rounds."""

    samples_ms: tuple[float, ...]

    @property
    def p50(self) -> float:
        """The median in ms."""
        return quantile(self.samples_ms, 0.5)

    @property
    def p90(self) -> float:
        """The 90th percentile in ms."""
        return quantile(self.samples_ms, 0.9)


def quantile(samples: tuple[float, ...], q: float) -> float:
    """The ``q`` quantile of ``samples`` with linear interpolation (needs no numpy)."""
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A paired ratio with its confidence interval: candidate latency over baseline latency."""

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def over(self, goal: float) -> Ratio:
        """The same as a share of a goal, which is a ratio too."""
        return replace(self, value=self.value / goal, low=self.low / goal, high=self.high / goal)
