"""What recovery minimises: distance to the teacher's logits, and cross-entropy with the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from deployprune.errors import UsageError
from deployprune.training.settings import RecoverySettings

__all__ = ["distillation_loss", "label_loss", "recovery_loss"]


def recovery_loss(logits: Tensor, taught: Tensor | None, labels: Tensor | None, settings: RecoverySettings) -> Tensor:
    """Distillation from the teacher's logits ``taught`` and label loss, weighted; alone where the other is missing.

    Raises UsageError where there is neither.
    """
    if taught is not None and labels is not None:
        share = settings.distill_weight
        distilled = distillation_loss(logits, taught, settings.temperature)
        return share * distilled + (1 - share) * label_loss(logits, labels)
    if taught is not None:
        return distillation_loss(logits, taught, settings.temperature)
    if labels is not None:
        return label_loss(logits, labels)
    raise UsageError("training needs labels or a teacher", hint="give labelled data, or distil from the dense model")


def distillation_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """KL divergence of softened class distributions times temperature squared (Hinton et al. 2015, 1503.02531).

    Single outputs have no distribution over classes; their squared difference is taken instead.
    """
    student, teacher = _rows(logits), _rows(taught)
    if student.shape[1] == 1:
        return F.mse_loss(student, teacher)
    softened = F.log_softmax(student / temperature, dim=1)
    target = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(softened, target, reduction="batchmean", log_target=True) * temperature**2


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy with integer labels. Raises UsageError for labels that are no class of the model's output."""
    rows, classes = _rows(logits), labels.reshape(-1)
    if classes.is_floating_point() or len(classes) != len(rows):
        raise UsageError(
            f"labels of shape {tuple(labels.shape)} and dtype {labels.dtype} do not fit outputs {tuple(logits.shape)}",
            hint="labels are one class number for each output; leave them out to distil only",
        )
    if int(classes.max()) >= rows.shape[1]:
        raise UsageError(
            f"there is a label {int(classes.max())}, but the model has {rows.shape[1]} outputs",
            hint="check that the data belongs to this model; classes count from 0",
        )
    return F.cross_entropy(rows, classes.long())


def _rows(logits: Tensor) -> Tensor:
    """Logits as (predictions, classes): classes are last in 2-d and 3-d outputs, and dimension 1 in maps."""
    moved = logits.movedim(1, -1) if logits.dim() >= 4 else logits
    return moved.reshape(-1, moved.shape[-1]).float()
