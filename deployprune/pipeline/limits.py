"""The configured limits beside latency: what they count, as functions of the widths, and whether they were kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import nn

from deployprune.config import Config
from deployprune.pruning.ceilings import SIZE, Ceiling
from deployprune.pruning.counts import count_products
from deployprune.records import Analysis, LimitCheck
from deployprune.steps import ExportRecord
from deployprune.units import Amount, format_bytes, format_count

__all__ = ["ceilings_of", "check_limits", "onnx_bytes", "weight_bytes"]

_TEXTS: Mapping[str, Callable[[int], str]] = {
    "parameters": format_count,
    "macs": format_count,
    SIZE: format_bytes,
}
_SIZE_AIM = 0.995  # of a file's limit: candidates are exported under other names than what ships


def ceilings_of(
    limits: Mapping[str, Amount], analysis: Analysis, module: nn.Module, dense_bytes: int
) -> tuple[Ceiling, ...]:
    """The limits, by ``parameters``, ``macs`` and ``size``, for the planner; shares are of the dense model, whose ONNX
    file has ``dense_bytes``."""
    models = {
        "parameters": count_products(analysis.weights),
        "macs": count_products((*layer.output, *layer.reduced) for layer in analysis.layers if layer.contracts),
        SIZE: count_products(analysis.weights, each=_bytes_each(module)),
    }
    dense = {"parameters": analysis.parameters, "macs": analysis.macs, SIZE: dense_bytes}
    return tuple(
        Ceiling(
            name=name,
            model=models[name],
            limit=amount.of(dense[name]),
            text=_TEXTS[name],
            aim=_SIZE_AIM if name == SIZE else 1.0,
        ).calibrated(analysis.dense_widths(), dense[name])
        for name, amount in limits.items()
    )


def check_limits(config: Config, dense: Mapping[str, int], reached: Mapping[str, int]) -> tuple[LimitCheck, ...]:
    """The configured limits beside what the dense and the shipped model have of each (by ``parameters`` and so on)."""
    return tuple(
        LimitCheck(name=name, limit=math.floor(amount.of(dense[name])), reached=reached[name], dense=dense[name])
        for name, amount in config.pruning.limits.items()
    )


def onnx_bytes(export: ExportRecord) -> int:
    """The size of the export's ONNX file with what belongs to it."""
    return next(artifact.size_bytes for artifact in export.artifacts if artifact.format == "onnx")


def weight_bytes(module: nn.Module) -> int:
    """The bytes of all weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _bytes_each(module: nn.Module) -> float:
    return weight_bytes(module) / max(sum(parameter.numel() for parameter in module.parameters()), 1)
