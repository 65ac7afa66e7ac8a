"""What a ``.pte`` program says about its operations, read without its runtime.

Field numbers are those of ExecuTorch's ``schema/program.fbs`` and of its XNNPACK backend's ``runtime_schema.fbs``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployprune.backends.flatbuffer import FlatTable, root_table
from deployprune.backends.xnnpack import Operation, Shape, channels_first, unpack_filter

__all__ = ["operator_kind", "read_operations"]

_KERNEL_CALL, _DELEGATE_CALL = 1, 2  # of InstructionArguments
_TENSOR = 5  # of KernelTypes
_SEGMENT = 1  # of DataLocation
_NONE = 2**32 - 1  # an operand that is not there
_EXTENDED, _XNNPACK = b"eh00", b"XH00"  # magic words behind the first eight and four bytes
_DEPTHWISE = 13
_QUANTIZED = 2  # of XValueUnion: its first field is the plain value


@dataclass(frozen=True, slots=True)
class _Layout:
    """An entry of XNodeUnion: the kind of the node, and which of its fields name inputs and output."""

    kind: str
    inputs: tuple[int, ...]
    output: int


_CONVOLUTION = (15, 16, 17), 18
_NODES = {
    1: _Layout("Add", (0, 1), 2),
    2: _Layout("Gemm", (0, 1, 2), 3),
    3: _Layout("Softmax", (0,), 1),
    4: _Layout("Sigmoid", (0,), 1),
    5: _Layout("Transpose", (2,), 3),
    6: _Layout("Clamp", (0,), 1),
    7: _Layout("Conv", *_CONVOLUTION),
    8: _Layout("Divide", (0, 1), 2),
    11: _Layout("AveragePool", (10,), 11),
    _DEPTHWISE: _Layout("Conv", *_CONVOLUTION),
    14: _Layout("MaxPool", (10,), 11),
    15: _Layout("Multiply", (0, 1), 2),
    16: _Layout("Subtract", (0, 1), 2),
    24: _Layout("Hardswish", (0,), 1),
    37: _Layout("MatMul", (0, 1), 2),
    39: _Layout("ConvTranspose", *_CONVOLUTION),
}


def read_operations(path: Path) -> tuple[Operation, ...]:
    """The operations of the program's first method in order, those handed to XNNPACK among them, as far as known."""
    content = path.read_bytes()
    program = root_table(content)
    plan = program.tables(1)[0]
    return tuple(
        operation
        for instruction in plan.tables(5)[0].tables(2)
        if (call := instruction.table(1)) is not None
        for operation in _operations(content, program, plan, instruction.number(0, "Uint8"), call)
    )


def operator_kind(name: str) -> str:
    """An operator's name as a node's kind: ``aten::mean`` and ``native_call_mean.out`` are ``Mean``."""
    return name.rpartition("::")[2].removeprefix("native_call_").partition(".")[0].capitalize()


def _operations(content: bytes, program: FlatTable, plan: FlatTable, kind: int, call: FlatTable) -> Iterator[Operation]:
    if kind == _KERNEL_CALL:
        yield _native(plan, call)
    elif kind == _DELEGATE_CALL:
        reference = plan.tables(7)[call.number(0, "Int32")].table(1)
        data = _delegate(content, program, reference) if reference else b""
        if data[4:8] == _XNNPACK:
            graph = root_table(data, struct.unpack_from("<I", data, 10)[0])
            values = [_dims(value) for value in graph.tables(2)]
            found = (_node(node, values) for node in graph.tables(1))
            yield from (operation for operation in found if operation is not None)


def _native(plan: FlatTable, call: FlatTable) -> Operation:
    """A call of a kernel of the runtime's own: its tensors, the last of which is the output."""
    values = plan.tables(2)
    arguments = (values[index] for index in dict.fromkeys(call.numbers(1, "Int32")))
    tensors = [value.table(1) for value in arguments if value.number(0, "Uint8") == _TENSOR]
    shapes = [tensor.numbers(2, "Int32") for tensor in tensors if tensor is not None]
    name = plan.tables(6)[call.number(0, "Int32")].text(0)
    return Operation(kind=operator_kind(name), inputs=tuple(shapes[:-1]), outputs=tuple(shapes[-1:]))


def _delegate(content: bytes, program: FlatTable, reference: FlatTable) -> bytes:
    index = reference.number(1, "Uint32")
    if reference.number(0, "Int8") != _SEGMENT:
        return program.tables(3)[index].content(0)
    base = struct.unpack_from("<Q", content, 24)[0] if content[8:12] == _EXTENDED else 0
    segment = program.tables(4)[index]
    start = base + segment.number(0, "Uint64")
    return content[start : start + segment.number(1, "Uint64")]


def _dims(value: FlatTable) -> tuple[int, Shape]:
    """A value's number and its shape."""
    tensor = value.table(1)
    if tensor is not None and value.number(0, "Uint8") == _QUANTIZED:
        tensor = tensor.table(0)
    return (tensor.number(6, "Uint32"), tensor.numbers(2, "Uint32")) if tensor is not None else (_NONE, ())


def _node(node: FlatTable, values: list[tuple[int, Shape]]) -> Operation | None:
    layout, table = _NODES.get(node.number(0, "Uint8")), node.table(1)
    if layout is None or table is None:
        return None
    shapes = dict(values)
    numbers = [table.number(field, "Uint32") for field in layout.inputs]
    inputs = [shapes[number] for number in numbers if number in shapes]
    output = shapes[table.number(layout.output, "Uint32")]
    if layout.kind.startswith("Conv"):
        weight = unpack_filter(inputs[1], depthwise=node.number(0, "Uint8") == _DEPTHWISE)
        if layout.kind == "ConvTranspose":
            weight = (weight[1], weight[0], *weight[2:])
        inputs, output = [channels_first(inputs[0]), weight, *inputs[2:]], channels_first(output)
    return Operation(kind=layout.kind, inputs=tuple(inputs), outputs=(output,))
