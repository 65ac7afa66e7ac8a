"""Small model files, made without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deployprune.backends.openvino import load_openvino


def write_conv_net(
    path: Path, *, channels: int = 16, size: int = 16, blocks: int = 1, batch: int | str = "batch", seed: int = 0
) -> Path:
    """An ONNX residual network: a stem, ``blocks`` blocks of two convolutions, pooling, and 10 class scores."""
    generator = np.random.default_rng(seed)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        values = generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(name: str, source: str, inputs: int) -> str:
        operands = [source, weight(f"{name}.weight", channels, inputs, 3, 3), weight(f"{name}.bias", channels)]
        nodes.append(helper.make_node("Conv", operands, [f"{name}_out"], name, pads=[1, 1, 1, 1]))
        return f"{name}_out"

    def simple(op: str, name: str, *sources: str) -> str:
        nodes.append(helper.make_node(op, list(sources), [f"{name}_out"], name))
        return f"{name}_out"

    x = simple("Relu", "stem_relu", conv("stem", "image", 3))
    for i in range(blocks):
        inner = simple("Relu", f"relu{i}a", conv(f"conv{i}a", x, channels))
        x = simple("Relu", f"relu{i}b", simple("Add", f"add{i}", conv(f"conv{i}b", inner, channels), x))
    flat = simple("Flatten", "flatten", simple("GlobalAveragePool", "pool", x))
    operands = [flat, weight("fc.weight", 10, channels), weight("fc.bias", 10)]
    nodes.append(helper.make_node("Gemm", operands, ["scores"], "fc", transB=1))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_ir(path: Path) -> Path:
    """The ``.onnx`` file as OpenVINO IR beside it, with f32 weights."""
    openvino = load_openvino()
    openvino.save_model(openvino.convert_model(str(path)), str(path.with_suffix(".xml")), compress_to_fp16=False)
    return path.with_suffix(".xml")
