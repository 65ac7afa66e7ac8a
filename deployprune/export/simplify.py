"""The same computation in fewer nodes, and the same bytes from the same model."""

from __future__ import annotations

import re

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from deployprune.backends.telemetry import forbid_telemetry
from deployprune.errors import ExportError

__all__ = ["canonicalize", "has_dynamic_batch", "simplify_onnx"]


def simplify_onnx(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with constants folded and redundant nodes removed. Raises ExportError when onnxsim refuses it."""
    forbid_telemetry()
    import onnxsim  # not before: it brings ONNX Runtime along, which reports its use as it is imported

    try:
        simplified, checked = onnxsim.simplify(model)
    except Exception as error:  # a native library: what it raises is not documented
        raise ExportError(
            f"onnxsim could not simplify the model: {error}", hint="export with simplify=False"
        ) from error
    if not checked:
        raise ExportError("onnxsim changed the outputs of the model", hint="export with simplify=False")
    return simplified


def canonicalize(model: onnx.ModelProto) -> None:
    """Remove what depends on who exported and where, in place, and call the batch dimension ``batch``.

    Stack traces, file paths and the exporter's notes go: equal weights and structure then give equal bytes.
    """
    _strip(model)
    model.producer_name = "deployprune"
    model.ClearField("producer_version")
    _name_batch(model.graph)


def has_dynamic_batch(model: onnx.ModelProto) -> bool:
    """Whether dimension 0 of any input is left open."""
    return any(_leading_symbols(model.graph))


def _strip(message: Message) -> None:
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for child in (value,) if isinstance(value, Message) else value:
                _strip(child)


def _name_batch(graph: onnx.GraphProto) -> None:
    """Rename the exporter's symbols (``s77``) of leading input dimensions, wherever they stand in an expression."""
    symbols = enumerate(_leading_symbols(graph))
    names = {symbol: "batch" if index == 0 else f"batch_{index}" for index, symbol in symbols}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in _dims(value):
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), dim.dim_param)


def _leading_symbols(graph: onnx.GraphProto) -> list[str]:
    leading = (dim.dim_param for value in graph.input for dim in _dims(value)[:1])
    return list(dict.fromkeys(symbol for symbol in leading if symbol))


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)
