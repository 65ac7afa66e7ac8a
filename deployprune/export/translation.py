"""From a captured program to ONNX: the exporter, its errors shortened and its chatter kept quiet."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import onnx
import torch
from torch.export import ExportedProgram

from deployprune.errors import ExportError
from deployprune.export.causes import first_cause

__all__ = ["quiet_exporter", "translate"]

_CHATTER = {  # logger: how the lines begin that mean nothing to a user
    "torch.onnx._internal.exporter._registration": "torchvision is not installed",
    "onnxscript.optimizer._constant_folding": "Evaluation failed",
    "onnx_ir.passes.common.initializer_deduplication": "Skipped deduplication",
}


def translate(
    program: ExportedProgram, input_names: Sequence[str], output_names: Sequence[str] | None
) -> onnx.ModelProto:
    """The program as an ONNX model. Raises ExportError for what has no ONNX form."""
    try:
        exported = torch.onnx.export(
            program, input_names=input_names, output_names=output_names, dynamo=True, external_data=False, verbose=False
        )
    except Exception as error:
        raise ExportError(
            f"the model could not be translated to ONNX: {first_cause(error)}",
            hint="an operation without an ONNX form must be rewritten in the model",
        ) from error
    if exported is None:
        raise ExportError("the ONNX exporter gave no program")
    for node in exported.model.graph.all_nodes():
        for value in node.outputs:  # the exporter may have called an inner value like an output
            if value.name in (output_names or ()) and not value.is_graph_output():
                value.name = f"{value.name}_inner"
    return exported.model_proto


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says on every run; whether the file is right is for parity to say."""
    loggers = [logging.getLogger(name) for name in _CHATTER]

    def keep(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(_CHATTER[record.name])

    for logger in loggers:
        logger.addFilter(keep)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(keep)
