"""ONNX Runtime's profile, where it renames, fuses, pads and reorders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deployprune.backends.feeds import random_feeds
from deployprune.backends.onnxruntime import OnnxRuntimeBackend
from deployprune.backends.typical import middle_mean
from deployprune.records import NodeTime, Target

TARGET = Target(backend="onnxruntime")


def write_projection_block(path: Path, channels: int) -> Path:
    """Two convolutions of one input, added, which the runtime fuses into one of them; then a matrix product."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w_main"], ["main_out"], "main", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["x", "w_short"], ["short_out"], "shortcut"),
        helper.make_node("Add", ["main_out", "short_out"], ["sum_out"], "sum"),
        helper.make_node("Relu", ["sum_out"], ["relu_out"], "relu"),
        helper.make_node("Transpose", ["relu_out"], ["turned"], "turn", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["turned", "w_last"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8, 8, 10])],
        [weight("w_main", channels, 16, 3, 3), weight("w_short", channels, 16, 1, 1), weight("w_last", channels, 10)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def profile(path: Path) -> dict[str, NodeTime]:
    with OnnxRuntimeBackend().open(path, TARGET) as session:
        feeds = random_feeds(session.inputs, seed=0)
    return {node.name: node for node in OnnxRuntimeBackend().node_times(path, TARGET, feeds, runs=4)}


@pytest.mark.parametrize("channels", [32, 20, 13])
def test_both_convolutions_keep_their_names_and_logical_shapes(tmp_path: Path, channels: int) -> None:
    nodes = profile(write_projection_block(tmp_path / "block.onnx", channels))
    for name, kernel in (("main", 3), ("shortcut", 1)):
        assert nodes[name].kind == "Conv"
        assert nodes[name].inputs[:2] == ((1, 16, 8, 8), (channels, 16, kernel, kernel))
        assert nodes[name].outputs == ((1, channels, 8, 8),)
    assert nodes["last"].inputs == ((1, 8, 8, channels), (channels, 10))


def test_reorders_are_named_after_their_neighbours_and_not_padded(tmp_path: Path) -> None:
    nodes = profile(write_projection_block(tmp_path / "block.onnx", 20))
    reorders = [node for node in nodes.values() if node.kind.startswith("Reorder")]
    assert reorders
    assert all(node.name.startswith(("reorder after ", "reorder before ")) for node in reorders)
    assert {node.outputs for node in reorders if node.kind == "ReorderOutput"} <= {
        ((1, 20, 8, 8),),
        ((1, 8, 8, 20),),
    }


def test_the_middle_mean_is_finer_than_a_unit_and_deaf_to_spikes() -> None:
    assert middle_mean([2, 3, 2, 3, 2, 3, 2, 3]) == 2.5
    assert middle_mean([2, 3, 2, 3, 2, 3, 900, 900]) < 4
    assert middle_mean([7]) == 7
