"""PyTorch to LiteRT: one ``.tflite`` file with float32 weights, inputs and outputs laid out as in the model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.causes import first_cause
from deployprune.export.litert_sparse import store_sparse
from deployprune.export.quiet import quiet
from deployprune.export.reference import evaluation_copy, named_outputs
from deployprune.export.staging import staged

__all__ = ["export_litert"]

_HINT = "pip install 'deployprune[litert]'"
_WIDE = (torch.int64, torch.float64)  # the converter narrows them unless told not to


class _Named(nn.Module):
    """A module that takes its inputs by name and gives its tensors as a tuple: names become the file's signature."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.names = tuple(names)

    def forward(self, **tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = self.module(*(tensors[name] for name in self.names))
        return tuple(named_outputs(outputs).values())


def export_litert(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    path: Path,
    *,
    input_names: Sequence[str],
    sparse: bool = False,
) -> None:
    """Write ``module``, in evaluation mode, as ``path`` at the batch of the examples; the caller's module is left as
    it is.

    With ``sparse``, 1x1 convolutions whose weights are zero often enough are stored for XNNPACK's sparse kernels.
    Raises BackendUnavailableError without ``litert-torch``, ExportError for what cannot be converted or written.
    """
    named = _Named(evaluation_copy(module), input_names).eval()
    with quiet():
        converter = _import_converter()
        converted = _convert(converter, named, dict(zip(input_names, example_inputs, strict=True)))
        with staged(path) as place:
            converted.export(str(place))
            if sparse:
                place.write_bytes(store_sparse(place.read_bytes()))


def _convert(converter: ModuleType, module: nn.Module, examples: dict[str, Tensor]) -> Any:
    wide = any(tensor.dtype in _WIDE for tensor in examples.values())
    try:
        return converter.convert(module, sample_kwargs=examples, enable_x64=wide)
    except Exception as error:  # torch.export, JAX and MLIR raise what they like
        raise ExportError(
            f"the model could not be converted to LiteRT: {first_cause(error)}",
            hint="an operation without a LiteRT form must be rewritten in the model, or choose another backend",
        ) from error


def _import_converter() -> ModuleType:
    try:
        converter = importlib.import_module("litert_torch")
    except ImportError as e:
        raise BackendUnavailableError(f"litert_torch cannot be imported: {e}", hint=_HINT) from e
    converter.config.show_progress = False
    return converter
