from __future__ import annotations

from pathlib import Path

import pytest
from small_models import write_conv_net, write_ir

from deployprune.backends.memory import peak_memory_bytes
from deployprune.errors import ExportError
from deployprune.records import Target


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_larger_file_needs_more_memory(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [write_conv_net(tmp_path / f"{width}.onnx", channels=width, size=8) for width in (8, 768)]
    weights = paths[1].stat().st_size
    if name == "openvino":
        paths = [write_ir(path) for path in paths]
    monkeypatch.chdir(tmp_path)
    small, large = (peak_memory_bytes(path, Target(backend=name)) for path in paths)
    assert weights > 40e6
    assert small >= 0
    assert large - small > 0.8 * weights
    assert small < 100e6


def test_a_file_that_does_not_run_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"broken\.onnx"):
        peak_memory_bytes(broken, Target(backend="onnxruntime"))
