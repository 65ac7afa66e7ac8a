from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from small_models import write_conv_net

from deployprune.backends.onnx_file import input_specs, read_inputs, static_nodes
from deployprune.errors import ExportError, UsageError


def test_inputs_are_read_as_onnx_reads_them(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    assert list(read_inputs(path)) == list(onnx.load(path).graph.input)


def test_shapes_are_those_of_the_batch_with_weights(tmp_path: Path) -> None:
    nodes = {node.name: node for node in static_nodes(write_conv_net(tmp_path / "net.onnx", channels=12), batch=5)}
    assert nodes["stem"].input_shapes == ((5, 3, 16, 16), (12, 3, 3, 3), (12,))
    assert nodes["add0"].input_shapes == ((5, 12, 16, 16),) * 2
    assert nodes["fc"].output_shapes == ((5, 10),)


def test_big_weights_do_not_lose_their_shapes(tmp_path: Path) -> None:
    nodes = {node.name: node for node in static_nodes(write_conv_net(tmp_path / "net.onnx", channels=64), batch=1)}
    assert nodes["conv0a"].input_shapes == ((1, 64, 16, 16), (64, 64, 3, 3), (64,))
    assert nodes["conv0a"].output_shapes == ((1, 64, 16, 16),)


def test_an_unnamed_dynamic_batch_is_filled_in(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    onnx.save(model, path)
    assert input_specs(path, 3)[0].shape == (3, 3, 16, 16)
    assert static_nodes(path, 3)[0].output_shapes == ((3, 16, 16, 16),)


def test_another_dynamic_dimension_is_refused(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "width"
    onnx.save(model, path)
    with pytest.raises(UsageError, match="width"):
        input_specs(path, 1)


@pytest.mark.parametrize("content", [b"", b"\x0a", b"\x3a\xff\xff\xff\xff\x7f", b"\x3f" * 9, b"\x3a\x03abc"])
def test_no_bytes_make_it_stumble(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"odd\.onnx"):
        read_inputs(path)
