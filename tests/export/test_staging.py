from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from deployprune.errors import ExportError
from deployprune.export.openvino import export_openvino
from deployprune.export.staging import staged


@contextmanager
def full_disk(after_bytes: int) -> Iterator[None]:
    """No file can grow beyond ``after_bytes``: the nearest that a test gets to a disk without space."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_all_files_arrive_together(tmp_path: Path) -> None:
    with staged(tmp_path / "new" / "model.xml") as place:
        place.write_text("graph")
        place.with_suffix(".bin").write_text("weights")
        assert list((tmp_path / "new").glob("model*")) == []
    assert {file.name: file.read_text() for file in (tmp_path / "new").iterdir()} == {
        "model.xml": "graph",
        "model.bin": "weights",
    }


def test_a_failure_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(KeyError), staged(path) as place:
        raise KeyError(place.write_text("half"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with full_disk(1000), pytest.raises(ExportError, match=r"model\.onnx") as caught, staged(path) as place:
        place.write_bytes(bytes(2000))
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match=r"out\.onnx"), staged(tmp_path / "file" / "out.onnx"):
        pytest.fail("there is no place to write in")


def test_a_full_disk_under_openvino_is_noticed_and_leaves_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "out"
    weight = helper.make_tensor("w", TensorProto.FLOAT, [100, 100], [0.5 + i for i in range(10_000)])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 100])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 100])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), source)
    with full_disk(20_000), pytest.raises(ExportError, match=r"m\.xml"):
        export_openvino(source, out / "m.xml")
    assert list(out.iterdir()) == []
    export_openvino(source, out / "m.xml")
    assert sorted(file.name for file in out.iterdir()) == ["m.bin", "m.xml"]
