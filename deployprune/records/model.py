"""What a model is: where it came from, what it is called with, and the files that are made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deployprune.records.measurement import Target

__all__ = ["AccuracyResult", "Artifact", "InputSpec", "ModelRef", "ParityResult"]


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
class Artifact:
    """A file that ships: ``path`` is relative to the run directory, ``size_bytes`` counts side files (IR weights)."""

    path: str
    format: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityResult:
    """How far a file's outputs, through its own runtime (on ``target``), are from those of the eager model."""

    artifact: str
    backend: str
    max_absolute: float
    max_relative: float
    tolerance: float
    target: Target | None = None

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
