"""One training under way: the models, the optimizer and the data on accelerate's device and processes."""

from __future__ import annotations

import atexit
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import broadcast_object_list, send_to_device
from torch import Tensor, distributed, nn
from torch.utils.data import IterableDataset

from deployprune.errors import UsageError
from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.training.augment import augment
from deployprune.training.calls import call, count_examples
from deployprune.training.losses import recovery_loss
from deployprune.training.precision import autocast, set_layout
from deployprune.training.schedule import build_optimizer, rate_at, set_rate
from deployprune.training.settings import ProgressEvent, RecoverySettings
from deployprune.training.sparsity import apply_masks

__all__ = ["Trainer", "make_accelerator"]


def make_accelerator() -> Accelerator:
    """Accelerate's view of this process: alone, or one of those that ``accelerate launch`` or ``torchrun`` started.

    A process group that begins here ends with the interpreter: its threads would abort an exit that leaves it open.
    """
    was_joined = distributed.is_initialized()
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")
    if distributed.is_initialized() and not was_joined:
        atexit.register(distributed.destroy_process_group)
    return accelerator


class Trainer:
    """Trains ``student`` an epoch at a time; the order and noise of an epoch follow from the seed and its number."""

    def __init__(
        self,
        accelerator: Accelerator,
        student: nn.Module,
        teacher: nn.Module | None,
        data: Data,
        settings: RecoverySettings,
        precision: str,
        masks: Mapping[str, Tensor],
    ) -> None:
        self.accelerator = accelerator
        self.settings = settings
        self.precision = precision
        self.data = dataclasses.replace(data, workers=settings.workers) if settings.workers else data
        self.student = set_layout(student.to(accelerator.device))
        self.teacher = None if teacher is None else set_layout(teacher.to(accelerator.device)).eval()
        self.masks = send_to_device(dict(masks), accelerator.device)
        apply_masks(self.student, self.masks)
        self.wrapped = accelerator.prepare_model(self.student.train())
        self.optimizer = build_optimizer(self.student, settings)
        self.step = 0
        self.seconds = 0.0
        self.examples = 0
        per_epoch = len(self._batches(1))
        self.steps = min(settings.epochs * per_epoch, settings.max_steps or settings.epochs * per_epoch)
        self.warmup = min(round(settings.warmup_epochs * per_epoch), self.steps // 2)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    @property
    def images_per_second(self) -> float:
        """Examples trained on a second, over all processes."""
        return self.examples / self.seconds if self.seconds else 0.0

    def run_epoch(self, epoch: int, score: float | None, progress: Callable[[ProgressEvent], None] | None) -> float:
        """Train one epoch (from 1) and return its mean loss. Raises UsageError where the loss is not finite."""
        torch.manual_seed(_mix(self.settings.seed, epoch, self.accelerator.process_index))
        generator = torch.Generator().manual_seed(_mix(self.settings.seed, epoch, -1 - self.accelerator.process_index))
        self.wrapped.train()
        total, batches = 0.0, 0
        for batch in self._batches(epoch):
            if self.finished:
                break
            started = time.perf_counter()
            loss = self._train_on(batch, generator)
            self.seconds += time.perf_counter() - started
            total, batches = total + loss, batches + 1
            if progress and self.accelerator.is_main_process:
                progress(self._event(epoch, loss, score))
        return total / max(batches, 1)

    def validation_loss(self) -> float:
        """The recovery loss over the validation examples, in evaluation mode."""
        self.wrapped.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self.data.loader("val", self.settings.batch_size):
                x, y = self._place(batch)
                examples = count_examples(x)
                total, count = total + float(self._loss(self.student, x, y)) * examples, count + examples
        return total / max(count, 1)

    def agree(self, measure: Callable[[], float]) -> float:
        """A number measured on the main process, the same on all of them."""
        numbers = [measure() if self.accelerator.is_main_process else 0.0]
        broadcast_object_list(numbers)
        return numbers[0]

    def _train_on(self, batch: Any, generator: torch.Generator) -> float:
        x, y = split_batch(batch)
        if self.settings.augment != "none":
            x = augment(x, self.settings.augment, generator)
        x, y = self._place((x, y))
        set_rate(self.optimizer, self.settings.learning_rate * rate_at(self.step, self.steps, self.warmup))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(self.wrapped, x, y)
        self.accelerator.backward(loss)
        self.optimizer.step()
        apply_masks(self.student, self.masks)
        self.step += 1
        self.examples += count_examples(x) * self.accelerator.num_processes
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(
                f"training diverged: the loss of step {self.step} is {value}",
                hint="lower recovery.learning_rate, or raise recovery.warmup_epochs",
            )
        return value

    def _loss(self, module: nn.Module, x: Any, y: Tensor | None) -> Tensor:
        with autocast(self.precision, self.accelerator.device):
            logits = call(module, x)
            with torch.no_grad():
                taught = None if self.teacher is None else call(self.teacher, x)
        return recovery_loss(logits, taught, y, self.settings)

    def _place(self, batch: Any) -> tuple[Any, Tensor | None]:
        x, y = split_batch(batch)
        x, y = send_to_device((x, y), self.accelerator.device)
        return set_layout(x), y if self.data.labelled else None

    def _batches(self, epoch: int) -> Any:
        """This process's batches of an epoch."""
        processes = self.accelerator.num_processes
        if processes > 1 and isinstance(self.data.train, IterableDataset):
            raise UsageError("data that can only be iterated cannot be split over processes", hint="give a Dataset")
        loader = self.data.loader(
            "train",
            max(1, self.settings.batch_size // processes),
            shuffle=True,
            seed=_mix(self.settings.seed, epoch),
            drop_last=True,
        )
        return prepare_data_loader(loader) if processes > 1 else loader

    def _event(self, epoch: int, loss: float, score: float | None) -> ProgressEvent:
        return ProgressEvent(
            epoch=epoch,
            epochs=self.settings.epochs,
            step=self.step,
            steps=self.steps,
            loss=loss,
            score=score,
            images_per_second=self.images_per_second,
            eta_s=self.seconds / self.step * (self.steps - self.step),
        )


def _mix(*parts: int) -> int:
    """One seed from several numbers, so that neither neighbours nor sums coincide."""
    mixed = 0
    for part in parts:
        mixed = (mixed * 1_000_003 + part + 12_582_917) % (2**62)
    return mixed
