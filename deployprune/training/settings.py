"""What recovery is told, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from deployprune.errors import UsageError

__all__ = ["ProgressEvent", "RecoverySettings"]

_CHOICES = {
    "optimizer": ("sgd", "adamw"),
    "precision": ("auto", "fp32", "bf16"),
    "augment": ("none", "flip", "crop", "crop-flip"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySettings:
    """How a model is fine-tuned.

    ``batch_size`` is the whole batch over all processes. ``distill_weight`` is the share of distillation in the loss
    where there are both a teacher and labels. ``precision`` is ``fp32``, ``bf16`` (autocast) or ``auto``, which
    times both (:mod:`deployprune.training.precision`). ``max_steps`` shortens schedule and training.

    Raises UsageError for a value outside its range.
    """

    epochs: int = 3
    batch_size: int = 128
    learning_rate: float = 0.02
    weight_decay: float = 5e-4
    optimizer: str = "sgd"
    warmup_epochs: float = 0.2
    temperature: float = 3.0
    distill_weight: float = 0.7
    precision: str = "auto"
    augment: str = "none"
    seed: int = 0
    max_steps: int | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"recovery.{name} {getattr(self, name)!r} is unknown", hint=f"use {', '.join(known)}")
        for name in ("batch_size", "learning_rate", "temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"recovery.{name} is {getattr(self, name)}, expected a number above zero")
        if self.epochs < 0 or not 0 <= self.distill_weight <= 1:
            raise UsageError("recovery.epochs must not be negative, and recovery.distill_weight lies between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """One training step done: ``step`` of ``steps``, the batch's loss, the last score, and the seconds still to go."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    score: float | None
    images_per_second: float
    eta_s: float
