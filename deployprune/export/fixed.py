"""An ONNX file at one batch, for converters that take no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from deployprune.errors import ExportError

__all__ = ["write_fixed"]


def write_fixed(onnx_path: Path, shapes: Sequence[Sequence[int]], path: Path) -> None:
    """Write the model of ``onnx_path`` as ``path`` with its inputs, in order, at these shapes.

    Raises ExportError for another number of inputs, and for a model whose weights lie beside it (above 2 GiB).
    """
    model = onnx.load(onnx_path, load_external_data=False)
    if len(model.graph.input) != len(shapes):
        raise ExportError(f"{onnx_path} has {len(model.graph.input)} inputs, the model {len(shapes)}")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExportError(
            f"the weights of {onnx_path} lie in a file beside it, which this converter cannot read",
            hint="choose a backend that runs models above 2 GiB, such as onnxruntime",
        )
    for value, shape in zip(model.graph.input, shapes, strict=True):
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    path.write_bytes(model.SerializeToString(deterministic=True))
