"""The pruned model, its proof, and its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployprune.records.model import InputSpec, ModelRef

__all__ = ["Proof", "PrunedRecord", "TrainingRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That the pruned model computes what the dense one computes with the removed units masked.

    ``relative_difference`` is the largest over outputs and trials; ``mask_changed_output`` says that the check could
    have failed: the mask changed an output, and what it left still followed its inputs. ``product`` is ``eager`` (the
    user's own module, shrunk), ``grafted`` (the same, but that the modules at the paths ``grafted`` run pieces of the
    captured program) or ``graph`` (the captured program).
    """

    relative_difference: float
    mask_changed_output: bool
    product: str
    trials: int
    grafted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedRecord:
    """How to make the pruned model again from the dense one: no pickle, only names, indices and hashes."""

    model: ModelRef
    inputs: tuple[InputSpec, ...]
    kept: dict[str, dict[int, tuple[int, ...]]]
    attributes: dict[str, Any]
    product: str
    grafted: tuple[str, ...] = ()
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
