from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from named_net import NamedNet, named_examples
from torch import nn

from deployprune.backends.registry import get_backend
from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.executorch import export_executorch
from deployprune.export.formats import get_format
from deployprune.export.parity import check_parity, require_parity
from deployprune.records import Target

pytest.importorskip("executorch", reason="the executorch extra is not installed")
SAMPLE = torch.zeros(1, 3, 8, 8)
BACKEND = get_backend("executorch")


def test_inputs_and_outputs_keep_their_names_types_and_order(tmp_path: Path) -> None:
    model, examples = NamedNet(), named_examples()
    path = get_format("executorch").path(tmp_path / "m")
    export_executorch(model, examples, path, input_names=["zeta", "image", "alpha"])
    with BACKEND.open(path, Target(backend="executorch", batch=2)) as session:
        assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [
            ("zeta", (2, 5), "int64"),
            ("image", (2, 3, 8, 8), "float32"),
            ("alpha", (2, 12), "float32"),
        ]
        require_parity(check_parity(session, model, examples, artifact=path.name, backend="executorch"))
    assert model.training
    assert [file.name for file in tmp_path.iterdir()] == ["m.pte"]


def test_weights_stay_float32(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(40 * 36, 30)).eval()
    export_executorch(model, (SAMPLE,), tmp_path / "m.pte", input_names=["x"])
    content = (tmp_path / "m.pte").read_bytes()
    assert model[2].weight.detach().numpy().astype(np.float32).tobytes() in content


def test_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_executorch(nn.Conv2d(3, 4, 3), (SAMPLE,), tmp_path / "m.pte", input_names=["x"])
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_converted_is_an_export_error_with_its_cause(tmp_path: Path) -> None:
    class Sorting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)

    with pytest.raises(ExportError, match="could not be lowered to ExecuTorch") as caught:
        export_executorch(Sorting(), (SAMPLE,), tmp_path / "m.pte", input_names=["x"])
    assert "svd" in caught.value.message.lower()
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_missing_exporter_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch.exir", None)
    with pytest.raises(BackendUnavailableError) as caught:
        export_executorch(nn.ReLU(), (SAMPLE,), tmp_path / "m.pte", input_names=["x"])
    assert caught.value.hint == "pip install 'deployprune[executorch]'"
