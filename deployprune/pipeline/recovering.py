"""Recovery of the pruned model, in one round or several, and of its unstructured twin under the same budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deployprune.errors import UsageError
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Task
from deployprune.pruning.importance import score
from deployprune.records import AccuracyResult, TrainingRecord
from deployprune.training.evaluate import accuracy
from deployprune.training.gradients import loss_gradients
from deployprune.training.recovery import finetune
from deployprune.training.settings import ProgressEvent, RecoverySettings
from deployprune.training.sparsity import apply_masks, global_magnitude_masks
from deployprune.units import format_count

__all__ = ["eager_accuracy", "recover", "recovery_settings", "score_units", "unstructured_twin"]

_IMPORTANCE_BATCHES = 16

KeptUnits = Mapping[str, Sequence[int]]
KeptIndices = Mapping[str, Mapping[int, Sequence[int]]]


def score_units(bench: Workbench) -> dict[str, NDArray[np.float64]]:
    """The importance of every unit: by the configured criterion, or Taylor with data and L2 without."""
    data, name = bench.data, bench.config.pruning.criterion
    if name == "auto":
        name = "l2" if data is None else "taylor"
    gradients = None
    if data is not None:
        gradients = lambda: loss_gradients(  # noqa: E731
            bench.module,
            data,
            batches=_IMPORTANCE_BATCHES,
            batch_size=bench.config.recovery.batch_size,
            seed=bench.config.seed,
        )
    return score(name, bench.module, bench.groups, gradients=gradients)


def recovery_settings(bench: Workbench) -> RecoverySettings:
    """The configured recovery."""
    given = bench.config.recovery
    return RecoverySettings(
        epochs=given.epochs,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        weight_decay=given.weight_decay,
        optimizer=given.optimizer,
        warmup_epochs=given.warmup_epochs,
        temperature=given.temperature,
        distill_weight=given.distill_weight,
        precision=given.precision,
        augment=bench.config.data.augment,
        seed=bench.config.seed,
        max_steps=given.max_steps,
        workers=given.workers,
    )


def eager_accuracy(bench: Workbench, module: nn.Module) -> AccuracyResult | None:
    """The metric of a module on the validation data, or None where it cannot be measured."""
    if not bench.measurable or bench.data is None:
        return None
    return accuracy(module, bench.data, metric=bench.metric)


def train(
    bench: Workbench,
    student: nn.Module,
    settings: RecoverySettings,
    checkpoint: Path,
    task: Task,
    masks: Mapping[str, torch.Tensor] | None = None,
) -> TrainingRecord | None:
    """Distil the dense model into ``student``; None where there is no data or no epoch."""
    if bench.data is None or settings.epochs == 0:
        return None
    data, metric = bench.data, bench.metric

    def evaluate(module: nn.Module) -> float:
        return accuracy(module, data, metric=metric).value

    def show(event: ProgressEvent) -> None:
        score = "" if event.score is None else f", {event.score:.4g}"
        note = f"epoch {event.epoch} of {event.epochs}, loss {event.loss:.3f}{score}"
        task.update(event.step / max(event.steps, 1), note=f"{note}, {event.images_per_second:.0f} images/s")

    record = finetune(
        student,
        bench.module,
        data,
        settings,
        masks=masks,
        checkpoint=checkpoint,
        evaluate=evaluate if bench.measurable else None,
        progress=show,
    )
    checkpoint.unlink(missing_ok=True)
    return record


def recover(
    bench: Workbench, kept: KeptUnits, importance: Mapping[str, NDArray[np.float64]], folder: Path, task: Task
) -> tuple[nn.Module, TrainingRecord | None]:
    """The pruned model after recovery: removed at once, or in ``pruning.rounds`` rounds with recovery after each.

    Raises UsageError for fewer epochs than rounds.
    """
    rounds, settings = bench.config.pruning.rounds, recovery_settings(bench)
    if rounds > 1 and settings.epochs < rounds:
        raise UsageError(
            f"{settings.epochs} epochs of recovery cannot be spread over {rounds} pruning rounds",
            hint="raise recovery.epochs, or lower pruning.rounds",
        )
    dense = copy.deepcopy(bench.module.state_dict())
    student: nn.Module = bench.module
    record: TrainingRecord | None = None
    for turn in range(1, rounds + 1):
        pruned = bench.analysis.prune(_nested(bench, kept, importance, turn / rounds), seed=bench.config.seed)
        student = pruned.module
        _fill(student, dense, pruned.kept)
        epochs = (
            settings.epochs // rounds if turn < rounds else settings.epochs - settings.epochs // rounds * (rounds - 1)
        )
        record = train(bench, student, replace(settings, epochs=epochs), folder / f"recovery-{turn}.pt", task)
        _scatter(dense, student, pruned.kept)
    return student, record


def _nested(
    bench: Workbench, kept: KeptUnits, importance: Mapping[str, NDArray[np.float64]], share: float
) -> dict[str, tuple[int, ...]]:
    """The units left after ``share`` of the way to ``kept``: those that stay, and the best of those that go."""
    chosen = {}
    for group in bench.groups:
        stay = set(kept[group.name])
        going = sorted(set(range(group.size)) - stay, key=lambda unit: importance[group.name][unit])
        chosen[group.name] = tuple(sorted(stay | set(going[round(share * len(going)) :])))
    return chosen


def _fill(module: nn.Module, dense: Mapping[str, torch.Tensor], kept: KeptIndices) -> None:
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name in dense:
                tensor.copy_(_part(dense[name], kept.get(name, {})))


def _part(tensor: torch.Tensor, dims: Mapping[int, Sequence[int]]) -> torch.Tensor:
    for dim, indices in dims.items():
        tensor = tensor.index_select(dim, torch.tensor(indices, dtype=torch.int64))
    return tensor


def _scatter(dense: dict[str, torch.Tensor], module: nn.Module, kept: KeptIndices) -> None:
    """Write trained weights back into their places in the dense ones, for the next round to slice."""
    for name, tensor in module.state_dict().items():
        if name not in dense:
            continue
        places = [
            torch.tensor(kept.get(name, {}).get(dim, range(size)), dtype=torch.int64)
            for dim, size in enumerate(dense[name].shape)
        ]
        if places:
            dense[name][torch.meshgrid(*places, indexing="ij")] = tensor
        else:
            dense[name] = tensor.clone()


def unstructured_twin(
    bench: Workbench, nonzero: int, folder: Path, task: Task
) -> tuple[nn.Module, TrainingRecord | None] | None:
    """The dense model with all but ``nonzero`` parameters zeroed, recovered like the candidate; None where the biases
    and normalisations alone are more than that."""
    twin = copy.deepcopy(bench.module)
    try:
        masks = global_magnitude_masks(twin, nonzero)
    except UsageError as error:
        bench.observer.warning(f"no unstructured twin with {format_count(nonzero)} parameters: {error.message}")
        return None
    apply_masks(twin, masks)
    return twin, train(bench, twin, recovery_settings(bench), folder / "unstructured.pt", task, masks)
