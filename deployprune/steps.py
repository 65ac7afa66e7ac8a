"""The steps of a run in their order: each one's file name and the type of its record.

A run directory holds ``NN-name.json`` for every step that has ended; what is not there has not happened yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from deployprune.records import (
    AccuracyResult,
    Analysis,
    Artifact,
    Host,
    InputSpec,
    LatencyTable,
    ModelRef,
    ParityResult,
    Plan,
    Proof,
    PrunedRecord,
    TrainingRecord,
    VerificationRecord,
)

__all__ = [
    "ANALYSIS",
    "DENSE",
    "EXPORT",
    "HOST",
    "MODEL",
    "PLAN",
    "PRUNED",
    "RECOVERY",
    "UNSTRUCTURED",
    "VERIFICATION",
    "ExportRecord",
    "LoadedRecord",
    "RecoveryRecord",
    "Step",
    "SurgeryRecord",
    "UnstructuredRecord",
    "find_step",
    "table_step",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecord:
    """The model that was loaded, the inputs it is called with, and the hash of the data where it has one."""

    model: ModelRef
    inputs: tuple[InputSpec, ...]
    data_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """The files written for one model, and how their outputs compare with eager through their own runtimes."""

    artifacts: tuple[Artifact, ...]
    parity: tuple[ParityResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeryRecord:
    """The pruned model, and the proof that it computes what the masked dense model does."""

    pruned: PrunedRecord
    proof: Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRecord:
    """The fine-tuning (None when there was no data or no epoch) and the eager accuracy before and after pruning."""

    training: TrainingRecord | None
    dense: AccuracyResult | None
    candidate: AccuracyResult | None
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnstructuredRecord:
    """The unstructured twin: as many non-zero weights as the candidate has parameters, with the same recovery."""

    nonzero_parameters: int
    training: TrainingRecord | None
    accuracy: AccuracyResult | None
    export: ExportRecord | None = None
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One step of a run: its name, which sorts by order, and the type of the record it leaves."""

    name: str
    kind: type[T]

    @property
    def filename(self) -> str:
        """The record's file name in the run directory."""
        return f"{self.name}.json"


HOST = Step("00-host", Host)
MODEL = Step("10-model", LoadedRecord)
ANALYSIS = Step("20-analysis", Analysis)
DENSE = Step("25-dense", ExportRecord)
PLAN = Step("40-plan", Plan)
PRUNED = Step("50-pruned", SurgeryRecord)
RECOVERY = Step("60-recovery", RecoveryRecord)
UNSTRUCTURED = Step("65-unstructured", UnstructuredRecord)
EXPORT = Step("70-export", ExportRecord)
VERIFICATION = Step("80-verification", VerificationRecord)

_TABLE_PREFIX = "30-table-"
_SINGLE: tuple[Step[Any], ...] = (
    HOST,
    MODEL,
    ANALYSIS,
    DENSE,
    PLAN,
    PRUNED,
    RECOVERY,
    UNSTRUCTURED,
    EXPORT,
    VERIFICATION,
)


def table_step(target_key: str) -> Step[LatencyTable]:
    """The step that measures the latency table of one target, such as ``onnxruntime-t1-f32-b1``."""
    return Step(f"{_TABLE_PREFIX}{target_key}", LatencyTable)


def find_step(name: str) -> Step[Any] | None:
    """The step of this name (``40-plan``, ``30-table-...``), or None where no step has it."""
    if name.startswith(_TABLE_PREFIX):
        return table_step(name.removeprefix(_TABLE_PREFIX))
    return next((step for step in _SINGLE if step.name == name), None)
