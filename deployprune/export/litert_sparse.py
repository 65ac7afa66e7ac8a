"""Zeros of a ``.tflite`` file left out of it, so that XNNPACK multiplies only what is there.

LiteRT asks XNNPACK for sparse inference when weights reach it through a ``DENSIFY`` operation. XNNPACK then takes its
sparse kernels for clusters of 1x1 convolutions (Elsen et al. 2020, "Fast Sparse ConvNets") where more than two thirds
of all their weights are zero, on ARM and on x86 without AVX; elsewhere it multiplies the zeros as ever.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["store_sparse"]

_LEAST_ZEROS = 2 / 3
_IDENTIFIER = b"TFL3"


def store_sparse(content: bytes) -> bytes:
    """The model with the weights of its 1x1 convolutions in compressed rows, where enough of them are zero.

    ``content`` itself where none are.
    """
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    convolution = schema.BuiltinOperator.CONV_2D
    weights = dict.fromkeys(
        int(operator.inputs[1])
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == convolution
    )
    stored = [_compress(schema, model, graph, index) for index in weights if _is_sparse(schema, model, graph, index)]
    if not stored:
        return content
    model.operatorCodes.append(_densify_code(schema))
    graph.operators = [_densify(schema, model, *pair) for pair in stored] + list(graph.operators)
    return _pack(model)


def _is_sparse(schema: Any, model: Any, graph: Any, index: int) -> bool:
    tensor = graph.tensors[index]
    if tensor.type != schema.TensorType.FLOAT32 or list(tensor.shape[1:3]) != [1, 1]:
        return False
    values = _values(model, tensor)
    return values.size > 0 and float((values == 0).mean()) > _LEAST_ZEROS


def _values(model: Any, tensor: Any) -> np.ndarray:
    """The weights as (out, in); nothing where they are computed and not stored."""
    data = model.buffers[tensor.buffer].data
    return np.frombuffer(bytes(data) if data is not None else b"", np.float32).reshape(-1, tensor.shape[3])


def _compress(schema: Any, model: Any, graph: Any, index: int) -> tuple[int, int]:
    """Add a sparse tensor beside tensor ``index``, which loses its data: (sparse, dense)."""
    dense = graph.tensors[index]
    values = _values(model, dense)
    rows, columns = np.nonzero(values)
    sparse = schema.TensorT()
    sparse.name = bytes(dense.name) + b"_sparse"
    sparse.shape, sparse.type, sparse.buffer = dense.shape, dense.type, len(model.buffers)
    sparse.sparsity = _layout(schema, dense.shape, np.searchsorted(rows, range(len(values) + 1)), columns)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values[rows, columns].tobytes(), np.uint8)
    model.buffers.append(buffer)
    graph.tensors.append(sparse)
    emptied, dense.buffer = dense.buffer, 0  # buffer 0 is that of tensors which are computed
    if not any(tensor.buffer == emptied for other in model.subgraphs for tensor in other.tensors):
        model.buffers[emptied].data = None
    return len(graph.tensors) - 1, index


def _layout(schema: Any, shape: Iterable[int], segments: np.ndarray, indices: np.ndarray) -> Any:
    """Every dimension in order, all but the last one whole."""
    *outer, _ = (int(size) for size in shape)
    dimensions = []
    for size in outer:
        dimension = schema.DimensionMetadataT()
        dimension.format, dimension.denseSize = schema.DimensionType.DENSE, size
        dimensions.append(dimension)
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegmentsType, last.arraySegments = _vector(schema, segments)
    last.arrayIndicesType, last.arrayIndices = _vector(schema, indices)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.blockMap = list(range(len(outer) + 1)), []
    sparsity.dimMetadata = [*dimensions, last]
    return sparsity


def _vector(schema: Any, values: np.ndarray) -> tuple[int, Any]:
    """The whole numbers in the narrowest vector that holds them, behind its type."""
    largest = int(values.max(initial=0))
    name = "Uint8" if largest < 2**8 else "Uint16" if largest < 2**16 else "Int32"
    vector = getattr(schema, f"{name}VectorT")()
    vector.values = values.astype(name.lower())
    return getattr(schema.SparseIndexVector, f"{name}Vector"), vector


def _densify_code(schema: Any) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DENSIFY
    code.version = 1
    return code


def _densify(schema: Any, model: Any, sparse: int, dense: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = [sparse], [dense]
    operator.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
    operator.builtinOptions = schema.DensifyOptionsT()
    return operator


def _pack(model: Any) -> bytes:
    from flatbuffers import Builder

    builder = Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
