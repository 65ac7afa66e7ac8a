"""What a ``.tflite`` file says about its operations, read without its runtime."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from deployprune.backends.xnnpack import Operation, Shape, channels_first, unpack_filter

__all__ = ["operation_kind", "read_operations"]

_KINDS = {
    "CONV_2D": "Conv",
    "DEPTHWISE_CONV_2D": "Conv",
    "TRANSPOSE_CONV": "ConvTranspose",
    "FULLY_CONNECTED": "Gemm",
    "BATCH_MATMUL": "MatMul",
}


def read_operations(path: Path) -> tuple[Operation, ...]:
    """The operations of the file's first graph in order, with logical shapes."""
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    words = {code: word for word, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    graph = model.Subgraphs(0)
    return tuple(
        _operation(graph, operator, words[model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()])
        for operator in (graph.Operators(index) for index in range(graph.OperatorsLength()))
    )


def _operation(graph: Any, operator: Any, word: str) -> Operation:
    inputs = [_shape(graph, operator.Inputs(i)) for i in range(operator.InputsLength()) if operator.Inputs(i) >= 0]
    outputs = [_shape(graph, operator.Outputs(i)) for i in range(operator.OutputsLength())]
    if word in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        weight = unpack_filter(inputs[1], depthwise=word == "DEPTHWISE_CONV_2D")
        inputs = [channels_first(inputs[0]), weight, *inputs[2:]]
        outputs = [channels_first(shape) for shape in outputs]
    elif word == "TRANSPOSE_CONV":  # (output size, filter of (out, *kernel, in), input, bias)
        _, (out, *kernel, depth), source, *bias = inputs
        inputs = [channels_first(source), (depth, out, *kernel), *bias]
        outputs = [channels_first(shape) for shape in outputs]
    return Operation(kind=operation_kind(word), inputs=tuple(inputs), outputs=tuple(outputs))


def operation_kind(word: str) -> str:
    """LiteRT's word for an operation as a node's kind: ``CONV_2D`` is ``Conv``, ``MAX_POOL_2D`` is ``MaxPool``."""
    return _KINDS.get(word) or "".join(part.capitalize() for part in re.sub(r"_\dD$", "", word).split("_"))


def _shape(graph: Any, index: int) -> Shape:
    tensor = graph.Tensors(index)
    return tuple(int(tensor.Shape(position)) for position in range(tensor.ShapeLength()))
