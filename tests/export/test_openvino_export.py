from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deployprune.backends.openvino import load_openvino
from deployprune.errors import ExportError
from deployprune.export.artifact import file_artifact
from deployprune.export.onnx import export_onnx
from deployprune.export.openvino import export_openvino


def test_ir_keeps_float32_weights_names_and_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    x = torch.randn(2, 3, 8, 8)
    export_onnx(model, (x,), tmp_path / "m.onnx", input_names=["image"])
    export_openvino(tmp_path / "m.onnx", tmp_path / "ir" / "m.xml")

    ov = load_openvino()
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    read = core.read_model(tmp_path / "ir" / "m.xml")
    constants = [op for op in read.get_ops() if op.get_type_name() == "Constant" and op.get_output_size()]
    assert {op.get_element_type() for op in constants if op.get_element_type().is_real()} == {ov.Type.f32}
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    assert (tmp_path / "ir" / "m.bin").stat().st_size >= weights
    assert read.input(0).get_names() == {"image"}
    assert read.input(0).get_partial_shape()[0].is_dynamic
    actual = core.compile_model(read, "CPU")({"image": x.numpy()})[0]
    np.testing.assert_allclose(actual, model(x).detach().numpy(), rtol=1e-4, atol=1e-5)

    artifact = file_artifact(tmp_path / "ir" / "m.xml", tmp_path, "openvino")
    assert artifact.path == "ir/m.xml"
    assert artifact.size_bytes == sum(file.stat().st_size for file in (tmp_path / "ir").iterdir())


def test_a_file_that_is_not_onnx_is_an_export_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("not a model")
    with pytest.raises(ExportError, match=r"cannot read .*m\.onnx"):
        export_openvino(tmp_path / "m.onnx", tmp_path / "m.xml")
    assert not (tmp_path / "m.xml").exists()
