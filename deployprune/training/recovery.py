"""The door of training: fine-tune a pruned model, distilling from the dense one, and keep its best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list, send_to_device
from torch import Tensor, nn

from deployprune.errors import UsageError
from deployprune.records import TrainingRecord
from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.training.precision import choose_precision
from deployprune.training.settings import ProgressEvent, RecoverySettings
from deployprune.training.state import TrainingState, fingerprint, read_state, write_state
from deployprune.training.trainer import Trainer, make_accelerator

__all__ = ["finetune"]

_TIMED_EXAMPLES = 32


def finetune(
    student: nn.Module,
    teacher: nn.Module | None,
    data: Data,
    settings: RecoverySettings,
    *,
    masks: Mapping[str, Tensor] | None = None,
    checkpoint: Path | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    progress: Callable[[ProgressEvent], None] | None = None,
) -> TrainingRecord:
    """Train ``student`` in place on the logits of ``teacher``, on labels, or on both; it ends with its best weights.

    The best epoch is the one with the highest ``evaluate(student)`` or, where that is None, the lowest loss on the
    validation data; epoch 0 is the student as it came. Parameters named in ``masks`` stay zero where the mask is.
    With ``checkpoint`` the state is written there after every epoch, and a training with the same settings and
    starting weights goes on from it; removing the file in the end is the caller's. The same seed gives the same
    weights on the same machine (with ``precision`` ``auto``: where the timing decides alike). Under ``accelerate
    launch`` or ``torchrun`` every process calls this, and the batch is shared out.

    Raises UsageError where there is neither teacher nor label, or training diverges.
    """
    if teacher is None and not data.labelled:
        raise UsageError("recovery needs labels or a teacher, and there is neither")
    accelerator = make_accelerator()
    conditions = (teacher is not None, data.labelled, sorted(masks or ()), accelerator.num_processes)
    identity = fingerprint(student, settings, *conditions)
    state = _read_shared(checkpoint, identity, accelerator)
    with _as_before(student, teacher), torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        precision = state.precision if state else _resolve_precision(student, data, settings, accelerator)
        trainer = Trainer(accelerator, student, teacher, data, settings, precision, masks or {})
        state = _restore(trainer, state) if state else _begin(trainer, evaluate)
        while state.epoch < settings.epochs and not trainer.finished:
            _train_epoch(trainer, state, evaluate, progress)
            if checkpoint and accelerator.is_main_process:
                write_state(checkpoint, state, identity)
        student.load_state_dict(_same_everywhere(state.best, accelerator))
    return _record(trainer, state, "metric" if evaluate else "validation loss")


def _record(trainer: Trainer, state: TrainingState, criterion: str) -> TrainingRecord:
    return TrainingRecord(
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        history=state.history,
        criterion=criterion,
        distilled=trainer.teacher is not None,
        labels=trainer.data.labelled,
        images_per_second=trainer.images_per_second,
        seed=trainer.settings.seed,
        precision=trainer.precision,
    )


def _read_shared(checkpoint: Path | None, identity: str, accelerator: Accelerator) -> TrainingState | None:
    """The state to go on from; the main process's, since other machines may not see its file."""
    found = [read_state(checkpoint, identity) if checkpoint and accelerator.is_main_process else None]
    broadcast_object_list(found)
    return found[0]


def _resolve_precision(student: nn.Module, data: Data, settings: RecoverySettings, accelerator: Accelerator) -> str:
    if settings.precision != "auto":
        return settings.precision
    if settings.epochs == 0:
        return "fp32"
    batch = next(iter(data.loader("train", min(settings.batch_size, _TIMED_EXAMPLES))))
    example = send_to_device(split_batch(batch)[0], accelerator.device)
    chosen = [choose_precision(student.to(accelerator.device), example)]
    broadcast_object_list(chosen)
    return chosen[0]


def _begin(trainer: Trainer, evaluate: Callable[[nn.Module], float] | None) -> TrainingState:
    """The state before training: the student as it came is the best so far."""
    score = _score(trainer, evaluate)
    return TrainingState(
        precision=trainer.precision,
        best=_weights(trainer.student),
        best_score=score,
        history=({"epoch": 0.0, **_shown(score, evaluate)},),
    )


def _restore(trainer: Trainer, state: TrainingState) -> TrainingState:
    if state.student is not None and state.optimizer is not None:
        trainer.student.load_state_dict(state.student)
        trainer.optimizer.load_state_dict(state.optimizer)
    trainer.step = state.step
    return state


def _train_epoch(
    trainer: Trainer,
    state: TrainingState,
    evaluate: Callable[[nn.Module], float] | None,
    progress: Callable[[ProgressEvent], None] | None,
) -> None:
    """Train one epoch and bring ``state`` up to date."""
    loss = trainer.run_epoch(state.epoch + 1, state.history[-1].get("score"), progress)
    score = _score(trainer, evaluate)
    state.epoch += 1
    state.step = trainer.step
    state.history += ({"epoch": float(state.epoch), "loss": loss, **_shown(score, evaluate)},)
    state.student = _weights(trainer.student)
    state.optimizer = trainer.optimizer.state_dict()
    if score > state.best_score:
        state.best, state.best_score, state.best_epoch = state.student, score, state.epoch


def _score(trainer: Trainer, evaluate: Callable[[nn.Module], float] | None) -> float:
    """Higher is better: the metric, or the negative validation loss; what is no number is worst."""
    trainer.student.eval()
    with torch.no_grad():
        score = trainer.agree(lambda: evaluate(trainer.student) if evaluate else -trainer.validation_loss())
    return -math.inf if math.isnan(score) else score


def _shown(score: float, evaluate: Callable[[nn.Module], float] | None) -> dict[str, float]:
    """The score as the history has it, where it is a number."""
    return {"score": score if evaluate else -score} if math.isfinite(score) else {}


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _same_everywhere(weights: dict[str, Tensor], accelerator: Accelerator) -> dict[str, Tensor]:
    """The main process's weights (running statistics differ between processes)."""
    if accelerator.num_processes == 1:
        return weights
    return {name: broadcast(tensor.to(accelerator.device)) for name, tensor in weights.items()}


@contextmanager
def _as_before(*modules: Any) -> Iterator[None]:
    """Give the modules their device, memory layout and mode back in the end."""
    present = [module for module in modules if module is not None]
    before = [(next((p.device for p in module.parameters()), None), module.training) for module in present]
    try:
        yield
    finally:
        for module, (device, training) in zip(present, before, strict=True):
            module.to(device=device).to(memory_format=torch.contiguous_format).train(training)
            module.zero_grad(set_to_none=True)
