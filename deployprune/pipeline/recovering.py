"""Recovery of the pruned model, in one round or several, and of its unstructured twin under the same budget."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deployprune.errors import UsageError
from deployprune.graph.copying import copy_module
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Task
from deployprune.records import AccuracyResult, TrainingRecord
from deployprune.training.evaluate import accuracy
from deployprune.training.recovery import finetune
from deployprune.training.settings import ProgressEvent, RecoverySettings
from deployprune.training.sparsity import apply_masks, global_magnitude_masks
from deployprune.units import format_count

__all__ = ["eager_accuracy", "recover", "unstructured_twin"]

KeptUnits = Mapping[str, Sequence[int]]
KeptIndices = Mapping[str, Mapping[int, Sequence[int]]]


def eager_accuracy(bench: Workbench, module: nn.Module) -> AccuracyResult | None:
    """The metric of a module on the validation data, or None where it cannot be measured."""
    return None if bench.labelled_data is None else accuracy(module, bench.labelled_data, metric=bench.metric)


def recover(
    bench: Workbench,
    kept: KeptUnits,
    importance: Callable[[], Mapping[str, NDArray[np.float64]]],
    folder: Path | None,
    task: Task,
) -> tuple[nn.Module, TrainingRecord | None]:
    """The pruned model after recovery: removed at once, or in ``pruning.rounds`` rounds with recovery after each.

    The record is that of the last round, None where there is no data or no epoch. An interrupted recovery goes on from
    what it left in ``folder`` (the main process's; None for others).
    """
    rounds, settings = bench.config.pruning.rounds, _settings(bench)
    dense = copy.deepcopy(bench.module.state_dict())
    student: nn.Module = bench.module
    record: TrainingRecord | None = None
    checkpoints = [_checkpoint(folder, f"recovery-{turn}") for turn in range(1, rounds + 1)]
    for turn, checkpoint in enumerate(checkpoints, start=1):
        left = kept if turn == rounds else _kept_midway(bench, kept, importance(), turn / rounds)
        pruned = bench.analysis.prune(left, seed=bench.config.seed)
        student = pruned.module
        _fill(student, dense, pruned.kept)
        epochs = settings.epochs * turn // rounds - settings.epochs * (turn - 1) // rounds
        part = _Part(task, turn, rounds)
        record = _train(bench, student, replace(settings, epochs=epochs), checkpoint, part)
        _scatter(dense, student, pruned.kept)
    _remove(checkpoints)
    return student, record


def unstructured_twin(
    bench: Workbench, nonzero: int, recovery: TrainingRecord | None, folder: Path | None, task: Task
) -> tuple[nn.Module, TrainingRecord | None] | None:
    """The dense model with all but ``nonzero`` parameters zeroed, trained like the candidate was in ``recovery``.

    None where the biases and normalisations alone are more than that.
    """
    twin = copy_module(bench.module)
    try:
        masks = global_magnitude_masks(twin, nonzero)
    except UsageError as error:
        bench.observer.warning(f"no unstructured twin with {format_count(nonzero)} parameters: {error.message}")
        return None
    apply_masks(twin, masks)
    settings, checkpoint = _settings(bench), _checkpoint(folder, "unstructured")
    if recovery is not None:
        settings = replace(settings, precision=recovery.precision)
    record = _train(bench, twin, settings, checkpoint, _Part(task, 1, 1), masks)
    _remove([checkpoint])
    return twin, record


@dataclass(frozen=True, slots=True)
class _Part:
    """Where one training stands among those of a step, told as one progress."""

    task: Task
    turn: int
    turns: int

    def show(self, event: ProgressEvent) -> None:
        """Tell a training step."""
        score = "" if event.score is None else f", score {event.score:.4g}"
        turn = f"round {self.turn} of {self.turns}, " if self.turns > 1 else ""
        note = f"{turn}epoch {event.epoch} of {event.epochs}, loss {event.loss:.3f}{score}"
        done = (self.turn - 1 + event.step / max(event.steps, 1)) / self.turns
        self.task.update(done, note=f"{note}, {event.images_per_second:.0f} images/s")


def _settings(bench: Workbench) -> RecoverySettings:
    """The configured recovery."""
    given = msgspec.structs.asdict(bench.config.recovery)
    return RecoverySettings(**given, augment=bench.config.data.augment, seed=bench.config.seed)


def _checkpoint(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / f"{name}.pt"


def _remove(checkpoints: Sequence[Path | None]) -> None:
    for checkpoint in checkpoints:
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)


def _train(
    bench: Workbench,
    student: nn.Module,
    settings: RecoverySettings,
    checkpoint: Path | None,
    part: _Part,
    masks: Mapping[str, torch.Tensor] | None = None,
) -> TrainingRecord | None:
    """Distil the dense model into ``student``; None where there is no data or no epoch."""
    if bench.data is None or settings.epochs == 0:
        return None
    labelled, metric = bench.labelled_data, bench.metric
    return finetune(
        student,
        bench.module,
        bench.data,
        settings,
        masks=masks,
        checkpoint=checkpoint,
        evaluate=None if labelled is None else lambda module: accuracy(module, labelled, metric=metric).value,
        progress=part.show,
    )


def _kept_midway(
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
