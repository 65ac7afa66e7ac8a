"""Unstructured pruning by global magnitude: the twin that shows what zeros alone do for latency."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from deployprune.errors import UsageError

__all__ = ["apply_masks", "global_magnitude_masks"]


def global_magnitude_masks(module: nn.Module, nonzero: int) -> dict[str, Tensor]:
    """Masks (1 keeps, 0 removes) for all weights, such that the module has exactly ``nonzero`` parameters that stay.

    Weights (parameters of two dimensions and more) compete by magnitude over the whole module; biases and
    normalisation parameters all stay and count. Raises UsageError where those alone are more than ``nonzero``.
    """
    weights = {name: parameter.detach() for name, parameter in module.named_parameters() if parameter.dim() > 1}
    others = sum(parameter.numel() for parameter in module.parameters() if parameter.dim() <= 1)
    total = sum(weight.numel() for weight in weights.values())
    keep = min(nonzero - others, total)
    if keep < 0:
        raise UsageError(f"{nonzero} parameters are fewer than the {others} biases and norms, which are never masked")
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    kept = torch.zeros(total, device=magnitudes.device)
    kept[magnitudes.argsort(descending=True, stable=True)[:keep]] = 1.0
    parts = kept.split([weight.numel() for weight in weights.values()])  # type: ignore[no-untyped-call]
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}


def apply_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Multiply the named parameters by their masks in place. Raises UsageError for a name that the module lacks."""
    parameters = dict(module.named_parameters())
    strange = next((name for name in masks if name not in parameters), None)
    if strange:
        raise UsageError(f"there is a mask for {strange!r}, which the model does not have")
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)
