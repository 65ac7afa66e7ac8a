"""The latency table, and what is expected of a model fitted to it. Latency is in ms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from deployprune.records.measurement import Host, Target

__all__ = ["CostNode", "LatencyModel", "LatencyTable", "NodeTime", "VariantRun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """One node of a compiled model as its runtime timed it: median ms, and its logical shapes (batch included)."""

    name: str
    kind: str
    ms: float
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantRun:
    """One whole-model variant: its widths, its latency without the profiler, and its nodes' times with it, if taken.

    ``samples_ms`` are the raw samples, one a round, and ``dense_ms`` those of the dense model in the same rounds.
    """

    widths: dict[str, int]
    total_ms: float
    nodes: tuple[NodeTime, ...]
    samples_ms: tuple[float, ...] = ()
    dense_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """The in-context latency table of one model on one target: raw runs, and what is known of their noise.

    ``runs[0]`` is the dense model. ``noise`` is the relative half-to-half difference of repeated measurements.
    ``interval`` is the relative error within which nine of ten unseen variants are predicted, where it is known.
    The fit is recomputed from the runs, so that a table stays true when the fit gets better.
    """

    target: Target
    host: Host
    model_sha256: str
    channel_step: int
    noise: float
    runs: tuple[VariantRun, ...]
    seconds: float
    interval: float | None = None


class CostNode(Protocol):
    """One node of a fitted latency model: what it costs in ms as a function of the widths it depends on."""

    @property
    def name(self) -> str:
        """The runtime's name of the node."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """The channel groups whose widths change the cost (the planner handles two exactly, more by linearising)."""
        ...

    def cost_ms(self, widths: dict[str, int]) -> float:
        """Predicted ms at these widths (only ``groups`` are read)."""
        ...


class LatencyModel(Protocol):
    """A latency table's fit: whole-model latency as a constant plus a sum of nodes."""

    @property
    def nodes(self) -> tuple[CostNode, ...]:
        """The nodes whose cost depends on at least one group."""
        ...

    @property
    def constant_ms(self) -> float:
        """What no width changes."""
        ...

    def predict_ms(self, widths: dict[str, int]) -> float:
        """``constant_ms`` plus every node's cost."""
        ...
