"""A backend whose time is a law of the file's shapes: the same on every machine, for tests of whatever plans on time.

Outputs are computed by ONNX Runtime. The time of an inference is

    constant + sum over nodes of (MACs with channels rounded up to 8) / rate + bytes moved / bandwidth

with a tiny noise that depends on the file's content and on how many inferences came before, and on no clock.
"""

from __future__ import annotations

import hashlib
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from deployprune.backends.base import Closing, Session, check_target, require_file
from deployprune.backends.installed import installed
from deployprune.backends.onnxruntime import OnnxRuntimeBackend
from deployprune.errors import UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

    from deployprune.backends.onnx_file import GraphNode

__all__ = ["CHANNEL_STEP", "CONSTANT_MS", "FakeBackend"]

CHANNEL_STEP = 8
CONSTANT_MS = 0.05
_MACS_PER_MS = 2e7  # of one thread
_BYTES_PER_MS = 1e7
_NOISE = 1e-3  # relative, at most
_BYTES = 4


class FakeBackend:
    """Opens ``.onnx`` files; numbers from ONNX Runtime, time from the law above."""

    name = "fake"
    format = "onnx"
    precisions = ("f32",)

    def availability(self) -> Availability:
        """Available wherever ONNX Runtime is."""
        return installed(self.name, "onnxruntime", "pip install onnxruntime onnx", "onnx")

    def load(self) -> None:
        """Import ONNX Runtime. Raises BackendUnavailableError when it is not installed."""
        OnnxRuntimeBackend().load()

    def open(self, path: Path, target: Target) -> FakeSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        require_file(path)
        check_target(self, target)
        nodes = _law(path, target)
        session = OnnxRuntimeBackend().open(path, target)
        return FakeSession(session, sum(node.ms for node in nodes) + CONSTANT_MS, path.read_bytes())

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """The law's terms, without noise: with ``CONSTANT_MS`` they add up to what an inference takes."""
        with self.open(path, target) as session:
            session.bind(feeds)
        return _law(path, target)


def _law(path: Path, target: Target) -> tuple[NodeTime, ...]:
    from deployprune.backends.onnx_file import static_nodes

    return tuple(
        NodeTime(
            name=node.name or node.outputs[0],
            kind=node.op,
            ms=_macs(node) / (_MACS_PER_MS * target.threads) + _moved(node) / _BYTES_PER_MS,
            inputs=tuple(shape for shape in node.input_shapes if shape is not None),
            outputs=tuple(shape for shape in node.output_shapes if shape is not None),
        )
        for node in static_nodes(path, target.batch)
    )


def _moved(node: GraphNode) -> int:
    return sum(_BYTES * prod(shape) for shape in (*node.input_shapes, *node.output_shapes) if shape is not None)


def _macs(node: GraphNode) -> int:
    """Multiply-accumulate operations with both channel counts rounded up; 0 for what does not contract."""
    if node.op not in ("Conv", "Gemm", "MatMul"):
        return 0
    weight, output = node.input_shapes[1], node.output_shapes[0]
    if weight is None or output is None:
        return 0
    if node.op == "Conv":  # weight (out, in per group, *kernel), output (batch, out, *space)
        return output[0] * _rounded(output[1]) * prod(output[2:]) * _rounded(weight[1]) * prod(weight[2:])
    reduced = prod(weight) // output[-1] if node.op == "Gemm" else weight[-2]
    return prod(output[:-1]) * _rounded(output[-1]) * _rounded(reduced)


def _rounded(channels: int) -> int:
    """``channels`` up to the next whole step; one channel alone (depthwise) stays one."""
    return channels if channels == 1 else -(-channels // CHANNEL_STEP) * CHANNEL_STEP


class FakeSession(Closing):
    """One ``.onnx`` file whose inferences take what the law says."""

    def __init__(self, session: Session, ms: float, content: bytes) -> None:
        self._session = session
        self._ms = ms
        self._digest = hashlib.sha256(content).digest()
        self._calls = 0
        self._bound = False

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._session.inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """ONNX Runtime's outputs in the model's order. Raises UsageError for wrong inputs."""
        return self._session.run(feeds)

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Check the inputs; the law does not depend on their values. Raises UsageError for wrong inputs."""
        self._session.bind(feeds)
        self._bound = True

    def time_once(self) -> float:
        """The law's ms with this call's noise. Raises UsageError when nothing is bound."""
        if not self._bound:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        self._calls += 1
        word = hashlib.sha256(self._digest + self._calls.to_bytes(8, "little")).digest()[:4]
        return self._ms * (1 + _NOISE * (int.from_bytes(word, "little") / 2**31 - 1))

    def close(self) -> None:
        """Close the session that computes the outputs."""
        self._session.close()
