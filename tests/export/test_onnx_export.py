from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from deployprune.backends.onnxruntime import OnnxRuntimeBackend
from deployprune.errors import ExportError, UsageError
from deployprune.export import onnx as onnx_export
from deployprune.export.onnx import export_onnx
from deployprune.records import Target


class Residual(nn.Module):
    """Convolution, batch norm, a shortcut and a classifier: what an image model is made of."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.block = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.block(x) + x)
        return self.head(x.mean((2, 3)))


class TwoInTwoOut(nn.Module):
    """Named inputs and a dictionary of outputs, one of which is called like an input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.mix = nn.Linear(4, 4)

    def forward(self, ids: Tensor, weight: Tensor) -> dict[str, Tensor | None]:
        logits = self.mix(self.embed(ids)) * weight
        return {"logits": logits, "skipped": None, "weight": weight + 1}


class NamesInTheWay(nn.Module):
    """Outputs called like parameters and like the exporter's own inner values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.linear(x)
        positive = hidden.relu() * 2
        return {"relu": positive.sin(), "linear": positive, "mul": hidden * 3, "linear.bias": hidden}


class BatchOfTwo(nn.Module):
    """A model that only ever runs at the batch it was written for."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 6).flip(0) * 2


class BiasedAttention(nn.Module):
    """Attention with a bias for every relative position: kernels with a gradient lay it out otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 24)
        self.table = nn.Parameter(torch.randn(25, 2))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.mix(x).view(x.shape[0], 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
        bias = self.table[torch.arange(25)].view(5, 5, 2).permute(2, 0, 1)[None]
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).contiguous().reshape(x.shape[0], 5, -1)


def residual(width: int = 8) -> Residual:
    torch.manual_seed(0)
    model = Residual(width)
    for _ in range(3):  # real running statistics
        model(torch.randn(4, 3, 8, 8))
    return model


def run(path: Path, *arrays: np.ndarray) -> list[np.ndarray]:
    with OnnxRuntimeBackend().open(path, Target(backend="onnxruntime", batch=len(arrays[0]))) as session:
        return session.run({spec.name: array for spec, array in zip(session.inputs, arrays, strict=True)})


def test_file_computes_what_the_model_computes_at_any_batch_and_leaves_the_model_alone(tmp_path: Path) -> None:
    model = residual()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = export_onnx(model, (torch.randn(1, 3, 8, 8),), tmp_path / "deep" / "model.onnx", input_names=["image"])

    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert (result.inputs, result.outputs, result.dynamic_batch, result.notes) == (("image",), ("output",), True, ())
    assert [file.name for file in result.path.parent.iterdir()] == ["model.onnx"]
    model.eval()
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, 8, 8)
        (actual,) = run(result.path, x.numpy())
        torch.testing.assert_close(torch.from_numpy(actual), model(x).detach(), rtol=1e-5, atol=1e-5)

    graph = onnx.load(result.path).graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {"stem.weight", "block.weight", "head.weight"} <= {tensor.name for tensor in graph.initializer}
    assert "BatchNormalization" not in {node.op_type for node in graph.node}


def test_attention_with_a_learned_bias_is_exported_at_any_batch(tmp_path: Path) -> None:
    model = BiasedAttention().eval()
    result = export_onnx(model, (torch.randn(1, 5, 8),), tmp_path / "m.onnx", input_names=["x"])
    assert result.dynamic_batch
    assert model.table.requires_grad
    for batch in (1, 3):
        x = torch.randn(batch, 5, 8)
        torch.testing.assert_close(torch.from_numpy(run(result.path, x.numpy())[0]), model(x).detach())


def test_static_export_fixes_the_batch_of_the_example(tmp_path: Path) -> None:
    result = export_onnx(
        residual(), (torch.randn(3, 3, 8, 8),), tmp_path / "m.onnx", input_names=["x"], static=True, simplify=False
    )
    assert not result.dynamic_batch
    assert onnx.load(result.path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


def test_a_model_that_needs_its_batch_is_exported_at_it_and_says_so(tmp_path: Path) -> None:
    x = torch.arange(12.0).reshape(2, 6)
    result = export_onnx(BatchOfTwo(), (x,), tmp_path / "m.onnx", input_names=["x"])
    assert not result.dynamic_batch
    assert len(result.notes) == 1
    assert result.notes[0].startswith("batch fixed at 2: ")
    np.testing.assert_array_equal(run(result.path, x.numpy())[0], BatchOfTwo()(x).numpy())


def test_names_of_inputs_and_of_dictionary_outputs_are_kept(tmp_path: Path) -> None:
    model, ids, weight = TwoInTwoOut(), torch.tensor([[1, 2, 3]]), torch.randn(1, 3, 4)
    result = export_onnx(model, (ids, weight), tmp_path / "m.onnx", input_names=["ids", "weight"])
    assert result.inputs == ("ids", "weight")
    assert result.outputs == ("logits", "weight_output")
    expected = model(ids, weight)
    logits, weights = run(result.path, ids.numpy(), weight.numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected["logits"].detach())
    torch.testing.assert_close(torch.from_numpy(weights), expected["weight"])


def test_names_of_outputs_win_over_inner_values(tmp_path: Path) -> None:
    model, x = NamesInTheWay(), torch.randn(2, 4)
    result = export_onnx(model, (x,), tmp_path / "m.onnx", input_names=["x"])
    assert result.outputs == ("relu", "linear", "mul", "linear.bias_output")
    for actual, expected in zip(run(result.path, x.numpy()), model(x).values(), strict=True):
        torch.testing.assert_close(torch.from_numpy(actual), expected.detach())


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_captured_graph_module_exports_like_the_module_it_came_from(tmp_path: Path, dynamic: bool) -> None:
    model, x = residual().eval(), torch.randn(2, 3, 8, 8)
    shapes = ({0: Dim.DYNAMIC},) if dynamic else None
    graph_module = torch.export.export(model, (x,), dynamic_shapes=shapes).module()
    result = export_onnx(graph_module, (x,), tmp_path / "m.onnx", input_names=["x"])
    assert result.dynamic_batch == dynamic
    torch.testing.assert_close(
        torch.from_numpy(run(result.path, x.numpy())[0]), model(x).detach(), rtol=1e-5, atol=1e-5
    )


def test_node_names_do_not_change_with_the_widths(tmp_path: Path) -> None:
    names = []
    for width in (8, 6):
        path = tmp_path / f"{width}.onnx"
        export_onnx(residual(width), (torch.randn(1, 3, 8, 8),), path, input_names=["x"])
        names.append([(node.op_type, node.name) for node in onnx.load(path).graph.node])
    assert names[0] == names[1]


def test_export_says_nothing_and_restores_the_loggers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    filters = list(registration.filters)
    with caplog.at_level(logging.WARNING):
        export_onnx(residual(), (torch.randn(1, 3, 8, 8),), tmp_path / "m.onnx", input_names=["x"])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert registration.filters == filters


def test_weights_that_do_not_fit_one_file_go_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "SINGLE_FILE_BYTES", 1000)
    model, x = residual(), torch.randn(2, 3, 8, 8)
    result = export_onnx(model, (x,), tmp_path / "m.onnx", input_names=["x"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    torch.testing.assert_close(
        torch.from_numpy(run(result.path, x.numpy())[0]), model.eval()(x).detach(), rtol=1e-5, atol=1e-5
    )


def test_a_forward_that_fails_is_an_export_error_with_its_cause(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="captured") as caught:
        export_onnx(residual(), (torch.randn(1, 4, 8, 8),), tmp_path / "m.onnx", input_names=["x"])
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_operation_without_an_onnx_form_is_an_export_error(tmp_path: Path) -> None:
    class Determined(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvals(x).real

    with pytest.raises(ExportError, match="translated"):
        export_onnx(Determined(), (torch.randn(2, 3, 3),), tmp_path / "m.onnx", input_names=["x"])


def test_names_must_match_the_inputs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 input names for 1"):
        export_onnx(residual(), (torch.randn(1, 3, 8, 8),), tmp_path / "m.onnx", input_names=["x", "y"])
