"""Denormal weights: numbers so small that a CPU multiplies them many times slower, and that change nothing."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

__all__ = ["flush_denormals"]

# Not half precision: its denormals are ordinary numbers once a CPU has widened them to float32.
_DTYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def flush_denormals(model: onnx.ModelProto) -> int:
    """Set every weight smaller than its type's smallest normal number to zero, in place; returns how many there were.

    Folding the batch norm of a near-dead channel into its convolution makes such weights.
    """
    constants = (
        attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    )
    return sum(_flush(tensor) for tensor in (*model.graph.initializer, *constants) if tensor.data_type in _DTYPES)


def _flush(tensor: onnx.TensorProto) -> int:
    values = numpy_helper.to_array(tensor)
    denormal = (values != 0) & (np.abs(values) < np.finfo(values.dtype).tiny)
    count = int(denormal.sum())
    if count:
        tensor.CopyFrom(numpy_helper.from_array(np.where(denormal, values.dtype.type(0), values), tensor.name))
    return count
