from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deployprune.export.denormals import flush_denormals
from deployprune.export.onnx import export_onnx

TINY = float(np.finfo(np.float32).tiny)


def denormals(values: np.ndarray) -> int:
    return int(((values != 0) & (np.abs(values) < TINY)).sum())


def test_folding_a_near_dead_channel_leaves_no_denormal(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)).eval()
    with torch.no_grad():
        model[1].weight[1] = 1e-38  # times weights of about 0.1: below the smallest normal number
    folded = (model[0].weight[1] * model[1].weight[1]).detach().numpy()
    assert denormals(folded) > 0

    x = torch.randn(1, 3, 8, 8)
    path = tmp_path / "m.onnx"
    export_onnx(model, (x,), path, input_names=["x"])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    assert sum(denormals(values) for values in weights.values()) == 0
    assert (weights["0.weight"][1] == 0).any()
    np.testing.assert_allclose(weights["0.weight"][0], model[0].weight[0].detach().numpy(), rtol=1e-4)


def test_only_float_denormals_are_flushed_in_weights_and_constants() -> None:
    values = np.array([1.0, TINY, TINY / 2, -TINY / 4, 0.0], np.float32)
    half = np.array([6e-8, 1.0], np.float16)
    constant = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(values.astype(np.float64) * 1e-270)
    )
    graph = helper.make_graph(
        [constant],
        "g",
        [],
        [helper.make_tensor_value_info("c", TensorProto.DOUBLE, [5])],
        [numpy_helper.from_array(values, "w"), numpy_helper.from_array(half, "h")],
    )
    model = helper.make_model(graph)
    assert flush_denormals(model) == 2 + 3
    kept, untouched = (numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    np.testing.assert_array_equal(kept, np.array([1.0, TINY, 0, 0, 0], np.float32))
    np.testing.assert_array_equal(untouched, half)
    assert [tensor.name for tensor in model.graph.initializer] == ["w", "h"]
    assert flush_denormals(model) == 0
