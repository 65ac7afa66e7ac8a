from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deployprune.errors import ExportError, UsageError
from deployprune.export.artifact import artifact_files, file_artifact


def test_a_single_file_has_its_own_hash(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "m.onnx").write_bytes(b"graph")
    artifact = file_artifact(tmp_path / "files" / "m.onnx", tmp_path, "onnx")
    assert (artifact.path, artifact.format, artifact.size_bytes) == ("files/m.onnx", "onnx", 5)
    assert artifact.sha256 == hashlib.sha256(b"graph").hexdigest()


@pytest.mark.parametrize(("name", "side"), [("m.xml", "m.bin"), ("m.onnx", "m.onnx.data")])
def test_side_files_count_and_change_the_hash(tmp_path: Path, name: str, side: str) -> None:
    (tmp_path / name).write_bytes(b"graph")
    alone = file_artifact(tmp_path / name, tmp_path, "x")
    (tmp_path / side).write_bytes(b"weights")
    both = file_artifact(tmp_path / name, tmp_path, "x")
    assert artifact_files(tmp_path / name) == (tmp_path / name, tmp_path / side)
    assert both.size_bytes == alone.size_bytes + 7
    assert both.sha256 == hashlib.sha256(b"graphweights").hexdigest() != alone.sha256


def test_missing_and_outside_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"m\.onnx"):
        file_artifact(tmp_path / "m.onnx", tmp_path, "onnx")
    with pytest.raises(UsageError, match="outside"):
        file_artifact(tmp_path / "m.onnx", tmp_path / "elsewhere", "onnx")
