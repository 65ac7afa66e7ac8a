"""The suite's definitions as ONNX files, made by hand: no torch, no exporter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deployprune.backends.base import Backend
from deployprune.device.layers import Definition
from deployprune.errors import UsageError
from deployprune.export.openvino import export_openvino

__all__ = ["build_model", "write_model"]

_OPSET = 18
_IR = 9


def write_model(definition: Definition, width: int, batch: int, backend: Backend, stem: Path) -> Path:
    """Write one cell as the file that ``backend`` opens.

    Raises UsageError for a backend whose files are not made from ONNX, ExportError where OpenVINO cannot read it.
    """
    if backend.format not in ("onnx", "openvino"):
        raise UsageError(
            f"the suite's layers are ONNX, which {backend.name} does not open",
            hint=f"measure a model instead: deployprune profile MODEL --backend {backend.name}",
        )
    path = stem.with_suffix(".onnx")
    path.write_bytes(build_model(definition, width, batch).SerializeToString())
    if backend.format != "openvino":
        return path
    export_openvino(path, stem.with_suffix(".xml"))
    return stem.with_suffix(".xml")


def build_model(definition: Definition, width: int, batch: int = 1) -> onnx.ModelProto:
    """The network of ``definition`` at ``width``, with a ReLU after every layer that edge models follow by one.

    Weights are seeded normal numbers scaled to keep activations near one (He et al. 2015): no denormals. Only one pixel
    (or token) is given back, as models return little: OpenVINO writes some large outputs ten times slower than the same
    tensor inside a model.
    """
    network = _Network()
    channels = definition.base or width
    tokens = definition.kind in ("linear", "attention", "layer norm")
    shape = [batch, definition.size, channels] if tokens else [batch, channels, definition.size, definition.size]
    if definition.kind == "linear" and definition.size == 1:
        shape = [batch, channels]
    value = "input"
    for _ in range(definition.repeats):
        value = _BUILDERS[definition.kind](network, value, definition, width)
    value = network.first(value, axes=range(1, len(shape) - 1) if tokens else (2, 3))
    entry = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    end = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
    graph = helper.make_graph(network.nodes, "suite", [entry], [end], network.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


@dataclass(slots=True)
class _Network:
    """Nodes and weights so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        return self.split(op, *inputs, outputs=1, **attributes)[0]

    def split(self, op: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs; their names."""
        name = f"{op}_{len(self.nodes)}"
        names = [f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names

    def weight(self, *shape: int, fan_in: int) -> str:
        """Add a random weight; its name."""
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        return self.constant(values)

    def constant(self, values: np.ndarray) -> str:
        """Add a constant; its name."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def first(self, value: str, axes: Sequence[int]) -> str:
        """The first entry along these axes."""
        if not axes:
            return value
        starts, ends, along = ([0] * len(axes), [1] * len(axes), list(axes))
        return self.node("Slice", value, *(self.constant(np.array(part, np.int64)) for part in (starts, ends, along)))

    def convolution(self, value: str, d: Definition, channels: int, outputs: int, groups: int = 1) -> str:
        """A convolution that keeps or divides the resolution, and a ReLU."""
        inner = channels // groups
        weight = self.weight(outputs, inner, d.kernel, d.kernel, fan_in=inner * d.kernel**2)
        bias = self.constant(np.zeros(outputs, np.float32))
        before = (d.kernel - 1) // 2
        found = self.node(
            "Conv",
            value,
            weight,
            bias,
            group=groups,
            strides=[d.stride] * 2,
            pads=[before] * 4,
            kernel_shape=[d.kernel] * 2,
        )
        return self.node("Relu", found)

    def linear(self, value: str, inputs: int, outputs: int, *, flat: bool = False) -> str:
        """A linear layer as exporters write it: one node for vectors, product and sum for tokens."""
        weight = self.weight(inputs, outputs, fan_in=inputs)
        bias = self.constant(np.zeros(outputs, np.float32))
        if flat:
            return self.node("Gemm", value, weight, bias)
        return self.node("Add", self.node("MatMul", value, weight), bias)


def _conv(net: _Network, value: str, d: Definition, width: int) -> str:
    inner = net.convolution(value, d, d.base, d.groups * width, d.groups)
    return net.convolution(inner, d, d.groups * width, d.base, d.groups)


def _strided(net: _Network, value: str, d: Definition, width: int) -> str:
    return net.convolution(value, d, d.base, width)


def _depthwise(net: _Network, value: str, d: Definition, width: int) -> str:
    return net.convolution(value, d, width, width, width)


def _transposed(net: _Network, value: str, d: Definition, width: int) -> str:
    weight = net.weight(d.base, width, d.kernel, d.kernel, fan_in=d.base * d.kernel**2 // d.stride**2)
    around = (d.kernel - d.stride) // 2
    found = net.node(
        "ConvTranspose", value, weight, strides=[d.stride] * 2, pads=[around] * 4, kernel_shape=[d.kernel] * 2
    )
    return net.node("Relu", found)


def _linear(net: _Network, value: str, d: Definition, width: int) -> str:
    flat = d.size == 1
    inner = net.node("Relu", net.linear(value, d.base, width, flat=flat))
    return net.linear(inner, width, d.base, flat=flat)


def _attention(net: _Network, value: str, d: Definition, width: int) -> str:
    """Scaled dot-product attention between its projections (Vaswani et al. 2017); the width is a head's."""
    inner = d.groups * width
    apart = net.constant(np.array([0, 0, d.groups, width], np.int64))
    together = net.constant(np.array([0, 0, inner], np.int64))
    parts = net.split("Split", net.linear(value, d.base, 3 * inner), outputs=3, axis=-1, num_outputs=3)
    query, key, values = (
        net.node("Transpose", net.node("Reshape", part, apart), perm=order)
        for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
    )
    scaled = net.node("Mul", query, net.constant(np.array(width**-0.5, np.float32)))
    weights = net.node("Softmax", net.node("MatMul", scaled, key), axis=-1)
    mixed = net.node("Transpose", net.node("MatMul", weights, values), perm=[0, 2, 1, 3])
    return net.linear(net.node("Reshape", mixed, together), inner, d.base)


def _layer_norm(net: _Network, value: str, d: Definition, width: int) -> str:
    scale, shift = net.constant(np.ones(width, np.float32)), net.constant(np.zeros(width, np.float32))
    return net.node("LayerNormalization", value, scale, shift, axis=-1)


def _instance_norm(net: _Network, value: str, d: Definition, width: int) -> str:
    scale, shift = net.constant(np.ones(width, np.float32)), net.constant(np.zeros(width, np.float32))
    return net.node("InstanceNormalization", value, scale, shift)


def _resize(net: _Network, value: str, d: Definition, width: int) -> str:
    """Twice the resolution and back."""
    nearest = d.kind == "nearest resize"
    mode, place = ("nearest", "asymmetric") if nearest else ("linear", "half_pixel")
    for factor in (2.0, 0.5):
        scales = net.constant(np.array([1, 1, factor, factor], np.float32))
        value = net.node(
            "Resize", value, "", scales, mode=mode, coordinate_transformation_mode=place, nearest_mode="floor"
        )
    return value


_BUILDERS = {
    "conv": _conv,
    "grouped": _conv,
    "strided": _strided,
    "depthwise": _depthwise,
    "transposed": _transposed,
    "linear": _linear,
    "attention": _attention,
    "layer norm": _layer_norm,
    "instance norm": _instance_norm,
    "nearest resize": _resize,
    "bilinear resize": _resize,
}
