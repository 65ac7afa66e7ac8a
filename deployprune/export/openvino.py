"""ONNX to OpenVINO IR, with float32 weights kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deployprune.backends.openvino import load_openvino
from deployprune.errors import ExportError
from deployprune.export.staging import staged

__all__ = ["export_openvino"]


def export_openvino(onnx_path: Path, xml_path: Path) -> None:
    """Write the model of ``onnx_path`` as ``xml_path`` and its ``.bin`` beside it.

    The file is read by the runtime itself: ``openvino.convert_model`` would report its use to its makers.
    Raises BackendUnavailableError without OpenVINO, ExportError when it cannot read the file or write its IR whole.
    """
    openvino = load_openvino()
    core = openvino.Core()
    try:
        model = core.read_model(onnx_path)
        _name_by_position(model)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot read {onnx_path}: {error}") from error
    with staged(xml_path) as place:
        try:
            openvino.save_model(model, place, compress_to_fp16=False)
            core.read_model(place)  # a short write raises nothing: only reading it back tells
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO cannot write {xml_path}: {error}", hint="check that the disk has space left"
            ) from error


def _name_by_position(model: Any) -> None:
    """Rename nodes that OpenVINO named by a counter of the process, so that equal models give equal files."""
    for position, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{position}")
