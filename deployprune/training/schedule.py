"""The optimizer and its learning rate as a function of the step: linear warm-up, then a half cosine to zero."""

from __future__ import annotations

import math

import torch
from torch import nn

from deployprune.training.settings import RecoverySettings

__all__ = ["build_optimizer", "rate_at", "set_rate"]

_MOMENTUM = 0.9


def build_optimizer(module: nn.Module, settings: RecoverySettings) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum or AdamW; biases and normalisation parameters do not decay."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=_MOMENTUM, nesterov=True)


def rate_at(step: int, steps: int, warmup: int) -> float:
    """The share of the peak rate at ``step`` (from 0) of ``steps`` (SGDR's cosine, Loshchilov & Hutter 2017)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
