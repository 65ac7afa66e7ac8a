"""PyTorch to ExecuTorch: one ``.pte`` program with float32 weights, lowered to XNNPACK wherever that takes it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from deployprune.backends.executorch import INPUT_NAMES
from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.causes import first_cause
from deployprune.export.quiet import quiet
from deployprune.export.reference import evaluation_copy
from deployprune.export.staging import staged

__all__ = ["export_executorch"]

_HINT = "pip install 'deployprune[executorch]'"


def export_executorch(
    module: nn.Module, example_inputs: tuple[Tensor, ...], path: Path, *, input_names: Sequence[str]
) -> None:
    """Write ``module``, in evaluation mode, as ``path`` at the batch of the examples; the caller's module is left as
    it is.

    A program knows its inputs by position only: their names go along as a constant method of it.
    Raises BackendUnavailableError without ``executorch``, ExportError for what cannot be lowered or written.
    """
    reference = evaluation_copy(module)
    with quiet():
        content = _lower(reference, example_inputs, {INPUT_NAMES: json.dumps(list(input_names))})
    with staged(path) as place:
        place.write_bytes(content)


def _lower(module: nn.Module, example_inputs: tuple[Tensor, ...], constants: dict[str, str]) -> bytes:
    try:
        exir = importlib.import_module("executorch.exir")
        partition = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    except ImportError as e:
        raise BackendUnavailableError(f"executorch cannot be imported: {e}", hint=_HINT) from e
    try:
        program = torch.export.export(module, example_inputs)
        edge = exir.to_edge_transform_and_lower(
            program, partitioner=[partition.XnnpackPartitioner()], constant_methods=constants
        )
        return bytes(edge.to_executorch().buffer)
    except Exception as error:  # torch.export and every pass of the lowering raise what they like
        raise ExportError(
            f"the model could not be lowered to ExecuTorch: {first_cause(error)}",
            hint="an operation without an ExecuTorch form must be rewritten in the model, or choose another backend",
        ) from error
