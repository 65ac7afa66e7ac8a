from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from named_net import NamedNet, named_examples
from torch import nn

from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.formats import get_format
from deployprune.export.litert import export_litert
from deployprune.export.parity import check_parity, require_parity
from deployprune.records import Target

pytest.importorskip("litert_torch", reason="the litert extra is not installed")
SAMPLE = torch.zeros(1, 3, 8, 8)
BACKEND = get_backend("litert")


def test_inputs_and_outputs_keep_their_names_types_and_order(tmp_path: Path) -> None:
    model, examples = NamedNet(), named_examples()
    path = get_format("litert").path(tmp_path / "m")
    export_litert(model, examples, path, input_names=["zeta", "image", "alpha"])
    with BACKEND.open(path, Target(backend="litert", batch=2)) as session:
        assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [
            ("zeta", (2, 5), "int64"),
            ("image", (2, 3, 8, 8), "float32"),
            ("alpha", (2, 12), "float32"),
        ]
        require_parity(check_parity(session, model, examples, artifact=path.name, backend="litert"))
    assert model.training
    assert [file.name for file in tmp_path.iterdir()] == ["m.tflite"]


def test_weights_stay_float32(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.Flatten(), nn.Linear(40 * 36, 30)).eval()
    export_litert(model, (SAMPLE,), tmp_path / "m.tflite", input_names=["x"])
    content = (tmp_path / "m.tflite").read_bytes()
    assert model[2].weight.detach().numpy().astype(np.float32).tobytes() in content


def test_nothing_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_litert(nn.Conv2d(3, 4, 3), (SAMPLE,), tmp_path / "m.tflite", input_names=["x"])
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_converted_is_an_export_error_with_its_cause(tmp_path: Path) -> None:
    class Sorting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)

    with pytest.raises(ExportError, match="could not be converted to LiteRT") as caught:
        export_litert(Sorting(), (SAMPLE,), tmp_path / "m.tflite", input_names=["x"])
    assert "svd" in caught.value.message.lower()
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_missing_converter_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(BackendUnavailableError) as caught:
        export_litert(nn.ReLU(), (SAMPLE,), tmp_path / "m.tflite", input_names=["x"])
    assert caught.value.hint == "pip install 'deployprune[litert]'"


def test_sparse_weights_take_less_space_and_give_the_same_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 300, 1), nn.ReLU(), nn.Conv2d(300, 8, 1)).eval()
    for layer, share in ((model[2], 0.9), (model[4], 0.3)):
        weight = layer.weight.data
        weight[torch.rand(weight.shape) < share] = 0.0
    sizes, outputs = {}, {}
    for sparse in (False, True):
        path = tmp_path / f"{sparse}.tflite"
        export_litert(model, (SAMPLE,), path, input_names=["x"], sparse=sparse)
        sizes[sparse] = path.stat().st_size
        with BACKEND.open(path, Target(backend="litert")) as session:
            feeds = random_feeds(session.inputs, seed=0)
            outputs[sparse] = session.run(feeds)[0]
        assert len([node for node in BACKEND.node_times(path, Target(backend="litert"), feeds, 1) if node.inputs]) >= 3
    np.testing.assert_array_equal(outputs[True], outputs[False])
    assert sizes[False] - sizes[True] > 0.7 * model[2].weight.numel() * 4
