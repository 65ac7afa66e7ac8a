"""The end of a run: cards, comparisons and verdicts. Latency is in ms, memory in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployprune.records.measurement import Measurement, Ratio, Target
from deployprune.records.model import AccuracyResult, Artifact, ParityResult

__all__ = ["SPARSE_ROLE", "Comparison", "LimitCheck", "ModelCard", "Verdict", "VerificationRecord", "Verified"]

SPARSE_ROLE = "unstructured, sparse kernels"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One side of the comparison on one backend: its file, size, work and accuracy.

    ``role`` is ``dense``, ``candidate``, ``unstructured`` or ``SPARSE_ROLE``; what was not measured, or is not known of
    a bare file, is None.
    """

    role: str
    artifact: Artifact
    peak_memory_bytes: int | None
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
    ``heat_c`` is the temperature of the device in degrees Celsius before and after them, where it can be read.
    ``control`` is dense against itself in the same rounds. ``sparse_kernels`` says which the unstructured twin was run
    with too, in a file of its own; None where the runtime has none.
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
    heat_c: tuple[float, float] | None = None
    sparse_kernels: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCheck:
    """A limit beside latency: ``parameters``, ``macs`` or ``size`` (the ONNX file, in bytes), and what was reached."""

    name: str
    limit: int
    reached: int
    dense: int

    @property
    def is_kept(self) -> bool:
        """Whether no more was reached than the limit."""
        return self.reached <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRecord:
    """The end of a run: one entry a target, the limits beside latency, and the verdict over all of them."""

    targets: tuple[Verified, ...]
    verdict: Verdict
    reason: str
    already_met: bool = False
    limits: tuple[LimitCheck, ...] = ()
