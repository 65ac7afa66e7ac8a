"""XNNPACK's timed operators as nodes: it says how each kernel is called, and the file says what it was made from.

Both LiteRT and ExecuTorch hand their graphs to XNNPACK, which fuses activations and padding into their neighbours and
otherwise keeps the file's order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from deployprune.records import NodeTime

__all__ = ["Operation", "channels_first", "name_nodes", "unpack_filter"]

Shape = tuple[int, ...]

_CONTRACTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_CONTRACTING_KERNELS = ("convolution", "deconvolution", "fully connected", "batch matrix multiply")
_KERNEL_WORDS = {  # a file's word for an operation: the first word of the kernel's name
    "mul": "multiply",
    "sub": "subtract",
    "div": "divide",
    "logistic": "sigmoid",
    "pad": "constant",
    "maxpool": "max",
    "averagepool": "average",
    "concatenation": "copy",
    "reshape": "copy",
    "static": "copy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of a file, with logical shapes: channels before positions, weights as (out, in, *kernel)."""

    kind: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


def name_nodes(kernels: Sequence[str], ms: Sequence[float], operations: Sequence[Operation]) -> tuple[NodeTime, ...]:
    """The kernels (names in the order they ran, each with its ms) as nodes, with shapes where the file explains them.

    Of each family (all contractions, all additions, ...) the first kernel belongs to the file's first operation and so
    on, where there are as many of both. Names count the nodes of a kind, for kernels have none that last.
    """
    found = _match(kernels, operations)
    seen: Counter[str] = Counter()
    nodes = []
    for kernel, time, operation in zip(kernels, ms, found, strict=True):
        kind = operation.kind if operation else _plain(kernel)
        seen[kind] += 1
        inputs, outputs = (operation.inputs, operation.outputs) if operation else ((), ())
        nodes.append(NodeTime(name=f"{kind} {seen[kind]}", kind=kind, ms=time, inputs=inputs, outputs=outputs))
    return tuple(nodes)


def channels_first(shape: Shape) -> Shape:
    """(batch, height, width, channels) as (batch, channels, height, width); other ranks as they are."""
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else shape


def unpack_filter(shape: Shape, *, depthwise: bool) -> Shape:
    """A convolution's filter, (out, *kernel, in) or for depthwise (1, *kernel, out), as (out, in, *kernel)."""
    return (shape[-1], 1, *shape[1:-1]) if depthwise else (shape[0], shape[-1], *shape[1:-1])


def _match(kernels: Sequence[str], operations: Sequence[Operation]) -> list[Operation | None]:
    families: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        families[_family(operation)].append(operation)
    names = [_kernel_family(kernel) for kernel in kernels]
    counts = Counter(names)
    waiting = {name: iter(families[name]) for name in counts if len(families[name]) == counts[name]}
    return [next(waiting[name]) if name in waiting else None for name in names]


def _family(operation: Operation) -> str:
    if operation.kind in _CONTRACTIONS:
        return "contraction"
    word = operation.kind.lower()
    return _KERNEL_WORDS.get(word, word)


def _kernel_family(kernel: str) -> str:
    name = _plain(kernel)
    if name in _CONTRACTIONS or name.lower().startswith(_CONTRACTING_KERNELS):
        return "contraction"
    word = name.lower().partition(" ")[0]
    return _KERNEL_WORDS.get(word, word)


def _plain(kernel: str) -> str:
    """A kernel's name without its layout, data type and implementation: ``Add (ND)`` is ``Add``."""
    return kernel.partition(" (")[0]
