"""What an ``.onnx`` file says about its shapes, read without its runtime.

Runtimes hide what the planner needs: ONNX Runtime's profile shows channels padded to its block and leaves out weights
that it has packed. The file itself still has the logical shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from deployprune.errors import ExportError, UsageError
from deployprune.records import InputSpec

__all__ = ["GraphNode", "free_dimensions", "input_specs", "read_inputs", "static_nodes"]

Shape = tuple[int, ...]

_GRAPH_OF_MODEL = 7  # field numbers of onnx.proto
_INPUT_OF_GRAPH = 11
_SMALL = 4096  # elements; shape inference only needs the values of shape constants


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node of an ONNX graph with its tensors' names and logical shapes (None where a shape is not known)."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shapes: tuple[Shape | None, ...]
    output_shapes: tuple[Shape | None, ...]


def read_inputs(path: Path) -> tuple[onnx.ValueInfoProto, ...]:
    """The graph's declared inputs, found by skipping over the weights, which are never read.

    Raises ExportError when ``path`` is not an ONNX file.
    """
    try:
        with path.open("rb") as stream:
            blobs = [
                _read_at(stream, *span)
                for graph in _fields(stream, 0, path.stat().st_size, _GRAPH_OF_MODEL)
                for span in _fields(stream, *graph, _INPUT_OF_GRAPH)
            ]
        inputs = tuple(onnx.ValueInfoProto.FromString(blob) for blob in blobs)
    except (ValueError, DecodeError) as e:
        raise ExportError(f"{path} is not a readable ONNX file: {e}", hint="export the model again") from e
    if not inputs:
        raise ExportError(f"{path} is not an ONNX model with inputs", hint="export the model again")
    return inputs


def _fields(stream: BinaryIO, start: int, length: int, wanted: int) -> list[tuple[int, int]]:
    """(start, length) of every field with the number ``wanted`` in the protobuf message that lies at ``start``."""
    found = []
    end = start + length
    stream.seek(start)
    while stream.tell() < end:
        tag = _varint(stream)
        size = _size(stream, tag & 7)
        position = stream.tell()
        if position + size > end:
            raise ValueError("it is damaged or cut short")
        if tag >> 3 == wanted:
            found.append((position, size))
        stream.seek(position + size)
    return found


def _size(stream: BinaryIO, kind: int) -> int:
    """The bytes that the field at the stream's position still takes, by protobuf's wire type."""
    if kind == 0:
        _varint(stream)
        return 0
    if kind == 2:
        return _varint(stream)
    if kind in (1, 5):
        return 8 if kind == 1 else 4
    raise ValueError("it is damaged or not protobuf at all")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("it is damaged or cut short")


def _read_at(stream: BinaryIO, start: int, length: int) -> bytes:
    stream.seek(start)
    return stream.read(length)


def free_dimensions(inputs: tuple[onnx.ValueInfoProto, ...]) -> frozenset[str]:
    """The names of the dynamic dimensions that stand at position 0 of an input: the batch."""
    shapes = (value.type.tensor_type.shape.dim for value in inputs)
    return frozenset(dims[0].dim_param for dims in shapes if len(dims) and dims[0].dim_param)


def input_specs(path: Path, batch: int) -> tuple[InputSpec, ...]:
    """The inputs of ``path`` at ``batch``.

    A file without any dynamic batch keeps its own shapes at batch 1, and at any batch that is its own. Raises
    UsageError when the file's batch is fixed at another value or another dimension is dynamic, ExportError when it
    cannot be read.
    """
    inputs = read_inputs(path)
    names = free_dimensions(inputs)
    return tuple(_spec(path, value, batch, names) for value in inputs)


def _spec(path: Path, value: onnx.ValueInfoProto, batch: int, names: frozenset[str]) -> InputSpec:
    dims = value.type.tensor_type.shape.dim
    shape = []
    for position, dim in enumerate(dims):
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
        elif position == 0 or dim.dim_param in names:
            shape.append(batch)
        else:
            raise UsageError(
                f"input {value.name!r} of {path} has a dynamic dimension {position} ({dim.dim_param or 'unnamed'})",
                hint="only the batch may be dynamic: export the model with fixed sizes elsewhere",
            )
    if batch != 1 and (not shape or shape[0] != batch):
        raise UsageError(
            f"input {value.name!r} of {path} has the fixed shape {shape}, which is not batch {batch}",
            hint="export with a dynamic batch, or ask for the batch that the file has",
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return InputSpec(name=value.name, shape=tuple(shape), dtype=dtype.name)


def static_nodes(path: Path, batch: int) -> tuple[GraphNode, ...]:
    """Every node of the file with the shapes of its operands at ``batch``, weights included.

    Raises ExportError when the file cannot be read.
    """
    names = free_dimensions(read_inputs(path))
    try:
        model = onnx.load(path, load_external_data=False)
        weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
        shapes = weights | _inferred(model, batch, names)
    except (DecodeError, onnx.shape_inference.InferenceError) as e:
        raise ExportError(f"the shapes of {path} cannot be inferred: {e}", hint="export the model again") from e
    return tuple(
        GraphNode(
            name=node.name,
            op=node.op_type,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            input_shapes=tuple(shapes.get(name) for name in node.input if name),
            output_shapes=tuple(shapes.get(name) for name in node.output if name),
        )
        for node in model.graph.node
    )


def _inferred(model: onnx.ModelProto, batch: int, names: frozenset[str]) -> dict[str, Shape]:
    """Shapes by tensor name; ``model`` loses its big weights, which inference would only copy around."""
    graph = model.graph
    for value in graph.input:
        for position, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param in names or (position == 0 and not dim.HasField("dim_value")):
                dim.dim_value = batch
    big = [tensor for tensor in graph.initializer if _elements(tensor) > _SMALL]
    graph.input.extend(onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in big)
    kept = [tensor for tensor in graph.initializer if _elements(tensor) <= _SMALL]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }


def _elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count
