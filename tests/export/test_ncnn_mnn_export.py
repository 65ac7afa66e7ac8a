"""ncnn and MNN files: faithful, with the model's names, quiet, and nothing else left; what fails says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from converted_nets import Memory, Mixed, Sums, Two, Words, write_as
from torch import Tensor, nn

from deployprune.backends.registry import get_backend
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.export.formats import format_of
from deployprune.export.parity import check_parity, require_parity
from deployprune.records import InputSpec, Target

FORMATS = ("ncnn", "mnn")


@pytest.fixture(params=FORMATS)
def name(request: pytest.FixtureRequest) -> str:
    if not get_backend(request.param).availability().available:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def require_equal(name: str, path: Path, module: nn.Module, examples: tuple[Tensor, ...]) -> tuple[InputSpec, ...]:
    with get_backend(name).open(path, Target(backend=name, batch=examples[0].shape[0])) as session:
        require_parity(check_parity(session, module, examples, artifact=path.name, backend=name))
        return session.inputs


@pytest.mark.parametrize("batch", [1, 2])
def test_a_network_of_many_operations_is_faithful(name: str, tmp_path: Path, batch: int) -> None:
    torch.manual_seed(0)
    module, examples = Mixed(), (torch.randn(batch, 3, 16, 16),)
    path = write_as(name, module, examples, tmp_path)
    inputs = require_equal(name, path, module, examples)
    assert inputs == (InputSpec(name="image", shape=(batch, 3, 16, 16), dtype="float32"),)


def test_inputs_keep_their_names_and_their_order(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, examples = Two(), (torch.randn(1, 8), torch.randn(1, 4))
    path = write_as(name, module, examples, tmp_path, names=("zeta", "alpha"))
    inputs = require_equal(name, path, module, examples)
    assert [(spec.name, spec.shape) for spec in inputs] == [("zeta", (1, 8)), ("alpha", (1, 4))]


def test_the_files_can_be_moved_and_nothing_lies_beside_them(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, examples = Mixed(), (torch.randn(1, 3, 16, 16),)
    path = write_as(name, module, examples, tmp_path / "here")
    files = {"ncnn": {"net.ncnn.param", "net.ncnn.bin"}, "mnn": {"net.mnn"}}[name]
    assert {file.name for file in path.parent.iterdir()} == {"net.onnx", *files}
    (tmp_path / "there").mkdir()
    for file in files:
        (path.parent / file).rename(tmp_path / "there" / file)
    require_equal(name, tmp_path / "there" / path.name, module, examples)


def test_equal_models_give_equal_files(name: str, tmp_path: Path) -> None:
    contents = []
    for folder in ("one", "two"):
        torch.manual_seed(0)
        path = write_as(name, Mixed(), (torch.randn(1, 3, 16, 16),), tmp_path / folder)
        contents.append({file.name: file.read_bytes() for file in path.parent.iterdir()})
    assert contents[0] == contents[1]


def test_writing_says_nothing(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    write_as(name, Mixed(), (torch.randn(1, 3, 16, 16),), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_integers_come_in_as_the_model_takes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, examples = Words(), (torch.randint(0, 50, (1, 12)),)
    path = write_as("mnn", module, examples, tmp_path, names=("ids",))
    assert require_equal("mnn", path, module, examples)[0].dtype == "int64"


@pytest.mark.parametrize(
    ("format_name", "module", "examples", "said"),
    [
        ("ncnn", Sums(), (torch.randn(1, 3, 8, 8),), r"no layer for pnnx\.Expression"),
        ("ncnn", Words(), (torch.randint(0, 50, (1, 12)),), "layer Gather not exists"),
        ("mnn", Memory(), (torch.randn(1, 5, 6),), r"killed by SIG(ABRT|SEGV)"),
    ],
)
def test_what_cannot_be_converted_is_an_error_that_says_so(
    format_name: str, module: nn.Module, examples: tuple[Tensor, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        write_as(format_name, module, examples, tmp_path)
    assert caught.value.hint
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx"}


def test_mnn_stores_zeros_for_its_sparse_kernels_where_there_are_many(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, examples = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 1)), (torch.randn(1, 3, 8, 8),)
    with torch.no_grad():
        module[1].weight[torch.rand_like(module[1].weight) < 0.95] = 0
    dense, sparse = (write_as(name, module, examples, tmp_path) for name in ("mnn", "mnn-sparse"))
    assert format_of(sparse).name == "mnn-sparse"
    assert sparse.stat().st_size < 0.7 * dense.stat().st_size
    require_equal("mnn", sparse, module, examples)


def test_a_converter_that_is_not_installed_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"ncnn": "pnnx", "mnn": "_tools"}[name]
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == missing else object())
    with pytest.raises(BackendUnavailableError) as caught:
        write_as(name, nn.Conv2d(3, 4, 1), (torch.randn(1, 3, 4, 4),), tmp_path)
    assert caught.value.hint == f"pip install 'deployprune[{name}]'"


def test_an_ncnn_file_of_others_lacks_what_it_takes(tmp_path: Path) -> None:
    path = write_as("ncnn", nn.Conv2d(3, 4, 1), (torch.randn(1, 3, 4, 4),), tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UsageError, match="what its inputs are called"):
        get_backend("ncnn").open(path, Target(backend="ncnn"))


def test_the_telemetry_of_mnn_is_never_imported(tmp_path: Path) -> None:
    path = write_as("mnn", nn.Conv2d(3, 4, 1), (torch.randn(1, 3, 4, 4),), tmp_path)
    with get_backend("mnn").open(path, Target(backend="mnn")) as session:
        assert session.run({"image": np.zeros((1, 3, 4, 4), np.float32)})[0].shape == (1, 4, 4, 4)
    assert not [module for module in sys.modules if module.startswith("MNN.tools")]
