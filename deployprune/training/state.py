"""The file from which an interrupted training goes on: written whole after every epoch, read as plain data."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deployprune.files import write_atomic
from deployprune.training.settings import RecoverySettings

__all__ = ["TrainingState", "fingerprint", "read_state", "write_state"]


@dataclass(slots=True)
class TrainingState:
    """Where training stands after an epoch: the epochs done, the best weights so far and everything to go on with."""

    precision: str
    best: dict[str, Tensor]
    best_score: float
    best_epoch: int = 0
    epoch: int = 0
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    student: dict[str, Tensor] | None = None
    optimizer: dict[str, Any] | None = None


def fingerprint(module: nn.Module, settings: RecoverySettings, *conditions: object) -> str:
    """What identifies a training: its settings and conditions, and the weights that it starts from."""
    digest = hashlib.sha256(repr((settings, conditions)).encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_state(path: Path, state: TrainingState, identity: str) -> None:
    """Write ``state`` atomically; raises RunDirectoryError where the disk is full."""
    buffer = io.BytesIO()
    torch.save({"identity": identity, **{name: getattr(state, name) for name in TrainingState.__slots__}}, buffer)
    write_atomic(path, buffer.getvalue())


def read_state(path: Path, identity: str) -> TrainingState | None:
    """The state in ``path``; None where there is none, it is damaged, or of another training: then start anew."""
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError):
        return None
    if not isinstance(content, dict) or content.pop("identity", None) != identity:
        return None
    return TrainingState(**content)
