"""The frozen records that pass from one step to the next, and that the run directory keeps.

Units: milliseconds, bytes, channels, seconds where a name ends in ``_s``. Every record is plain data:
no torch, no open file, nothing that cannot be written as JSON by :mod:`deployprune.codec`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

__all__ = [
    "AccuracyResult",
    "Analysis",
    "Artifact",
    "Availability",
    "Axis",
    "ChannelGroup",
    "Comparison",
    "CostNode",
    "DimForm",
    "Frozen",
    "Host",
    "InputSpec",
    "LatencyModel",
    "LatencyTable",
    "LayerCost",
    "LoopStep",
    "Measurement",
    "ModelCard",
    "ModelRef",
    "NodeTime",
    "ParityResult",
    "Plan",
    "Proof",
    "PrunedRecord",
    "Ratio",
    "Target",
    "TrainingRecord",
    "VariantRun",
    "Verdict",
    "VerificationRecord",
    "Verified",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One model input: its name, example shape (dimension 0 is the batch) and dtype such as ``float32``."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Where a model came from, enough to load it again.

    ``kind`` is ``module``, ``state_dict``, ``safetensors``, ``exported``, ``zoo`` or ``object`` (passed in Python).
    """

    kind: str
    source: str
    sha256: str | None = None
    arch: str | None = None
    arch_kwargs: dict[str, Any] = field(default_factory=dict)
    trusted_pickle: bool = False


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
    """Whether a backend can be used here; when not, ``hint`` is the command that installs it."""

    name: str
    available: bool
    version: str | None = None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that ships: ``path`` is relative to the run directory, ``size_bytes`` counts side files (IR weights)."""

    path: str
    format: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityResult:
    """How far a file's outputs, through its own runtime, are from those of the eager model."""

    artifact: str
    backend: str
    max_absolute: float
    max_relative: float
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the relative difference is within the tolerance."""
        return self.max_relative <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyResult:
    """A metric's value over a number of examples, of a module or of a file through its runtime."""

    metric: str
    value: float
    examples: int


# ---------------------------------------------------------------------------------------------------------------- graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One dimension of one parameter that a channel group runs along."""

    parameter: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Prunable units that live along the same parameter axes: ``size`` of them, each removed whole or not at all.

    ``units[i]`` maps ``parameter -> {dim: indices}``: what unit ``i`` takes away.  ``kind`` is ``channel``, ``head``,
    ``head dimension``, ``group`` or another of the field's words. ``statistics_changing`` says that a normalisation
    reduces over the units, so that removing one changes the statistics of the rest.
    """

    name: str
    kind: str
    size: int
    axes: tuple[Axis, ...]
    units: tuple[dict[str, dict[int, tuple[int, ...]]], ...]
    parameters: int
    macs: int
    minimum: int = 1
    step: int = 1
    statistics_changing: bool = False

    @property
    def channels_per_unit(self) -> int:
        """Channels that one unit takes of the axis where it takes fewest (64 for a head of 64, 1 for a channel)."""
        taken = [len(indices) for dims in self.units[0].values() for indices in dims.values()] if self.units else []
        return max(1, min(taken, default=1))

    def aligned_step(self, channel_step: int) -> int:
        """Units between widths that are multiples of ``channel_step`` channels and of ``step``.

        Halved while the group is too small to hold two of them, so that small groups keep a choice.
        """
        while channel_step > 1:
            units = math.lcm(self.step, channel_step // math.gcd(channel_step, self.channels_per_unit))
            if self.size >= 2 * units:
                return units
            channel_step //= 2
        return self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Something that cannot be pruned: the operation, where it stands in the user's source, and what it froze."""

    op: str
    reason: str
    location: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimForm:
    """A tensor dimension as a function of the group widths: ``constant + sum(coefficient * product(widths))``."""

    constant: int
    terms: tuple[tuple[float, tuple[str, ...]], ...] = ()

    def size(self, widths: dict[str, int]) -> int:
        """The dimension's length when the groups have these widths."""
        total = float(self.constant)
        for coefficient, names in self.terms:
            product = coefficient
            for name in names:
                product *= widths[name]
            total += product
        return round(total)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the dimension depends on."""
        return tuple(dict.fromkeys(name for _, names in self.terms for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One operation of the dense graph with its dimensions as forms: what MACs and latency are computed from.

    ``inputs`` and ``output`` are the shapes (batch 1) of its tensor operands, weights included, and of its result.
    ``macs_per_output`` forms multiply: MACs = product(output dims) * product(reduced dims) for convolution and linear
    layers, 0 for everything else (``reduced`` is empty and ``contracts`` is false).
    """

    name: str
    op: str
    module: str
    inputs: tuple[tuple[DimForm, ...], ...]
    output: tuple[DimForm, ...]
    contracts: bool
    reduced: tuple[DimForm, ...] = ()

    def macs(self, widths: dict[str, int]) -> int:
        """Multiply-accumulate operations for one example at these widths."""
        if not self.contracts:
            return 0
        total = 1
        for form in (*self.output, *self.reduced):
            total *= form.size(widths)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What can be pruned, what cannot and why, and what every layer costs as a function of the widths."""

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[Frozen, ...]
    layers: tuple[LayerCost, ...]
    parameters: int
    prunable_parameters: int
    macs: int
    prunable_macs: int

    def dense_widths(self) -> dict[str, int]:
        """Every group at its full size."""
        return {group.name: group.size for group in self.groups}

    def macs_at(self, widths: dict[str, int]) -> int:
        """MACs of one example at these widths."""
        return sum(layer.macs(widths) for layer in self.layers)


# -------------------------------------------------------------------------------------------------------------- latency


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
    """One whole-model variant: its widths, its latency without the profiler, and its nodes' times with it."""

    widths: dict[str, int]
    total_ms: float
    nodes: tuple[NodeTime, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """The in-context latency table of one model on one target: raw runs, and what is known of their noise.

    ``runs[0]`` is the dense model. ``noise`` is the relative half-to-half difference of repeated measurements.
    The fit is recomputed from the runs, so that a table stays true when the fit gets better.
    """

    target: Target
    host: Host
    model_sha256: str
    channel_step: int
    noise: float
    runs: tuple[VariantRun, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopStep:
    """One turn of the closed loop: the plan's predicted and measured latency per backend, as ratios to dense."""

    widths: dict[str, int]
    predicted: dict[str, float]
    measured: dict[str, Ratio]
    correction: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many and which units of every group stay, and how good the solver knows that choice to be.

    ``kept[group]`` lists the indices of the units that stay. ``loss`` is the share of all importance that goes,
    ``gap`` the relative distance of the plan's kept importance to the solver's bound.
    """

    widths: dict[str, int]
    kept: dict[str, tuple[int, ...]]
    loss: float
    gap: float
    predicted_ratio: dict[str, float]
    target_ratio: dict[str, float]
    trail: tuple[LoopStep, ...] = ()


# --------------------------------------------------------------------------------------------- surgery and recovery


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That the pruned model computes what the dense one computes with the removed units masked.

    ``relative_difference`` is the largest over outputs and trials; ``mask_changed_output`` says that the check could
    have failed; ``product`` is ``eager`` (the user's own module, shrunk) or ``graph`` (the captured program).
    """

    relative_difference: float
    mask_changed_output: bool
    product: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedRecord:
    """How to make the pruned model again from the dense one: no pickle, only names, indices and hashes."""

    model: ModelRef
    inputs: tuple[InputSpec, ...]
    kept: dict[str, dict[int, tuple[int, ...]]]
    attributes: dict[str, Any]
    product: str
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What recovery did: epochs, best epoch, metric history (None where nothing could be measured) and settings.

    ``precision`` is what training ran in, ``fp32`` or ``bf16``: what ``auto`` came to on that machine.
    """

    epochs: int
    best_epoch: int
    history: tuple[dict[str, float], ...]
    criterion: str
    distilled: bool
    labels: bool
    images_per_second: float
    seed: int
    precision: str = "fp32"


# --------------------------------------------------------------------------------------------------------- verification


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One side of the comparison on one backend: its file, size, work and accuracy.

    ``role`` is ``dense``, ``candidate`` or ``unstructured``; what was not measured, or is not known of a bare file, is
    None.
    """

    role: str
    artifact: Artifact
    peak_memory_bytes: int
    accuracy: AccuracyResult | None
    parameters: int | None = None
    nonzero_parameters: int | None = None
    macs: int | None = None
    parity: ParityResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Interleaved latency of one role against dense on one target, with the dense-against-dense control beside it."""

    role: str
    measurement: Measurement
    ratio: Ratio


class Verdict(StrEnum):
    """Three answers, because a noisy machine is not a failed budget."""

    PASS = "PASS"  # noqa: S105 - not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Everything that was measured on one target.

    ``reference_ms`` is the dense latency at the device's reference speed (measured with the latency table), and
    ``target_ms`` the budget on that scale; ``drift`` is how much slower dense ran in these rounds than the reference.
    ``control`` is dense against itself in the same rounds.
    """

    target: Target
    cards: tuple[ModelCard, ...]
    comparisons: tuple[Comparison, ...]
    control: Ratio
    reference_ms: float
    target_ms: float
    drift: float
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRecord:
    """The end of a run: one entry a target, and the verdict over all of them."""

    targets: tuple[Verified, ...]
    verdict: Verdict
    reason: str
    already_met: bool = False


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
