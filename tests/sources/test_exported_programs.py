"""Loading of .pt2 files: plain ones load and can be captured again, those that could run code are refused unrun."""

import io
import json
import os
import zipfile

import pytest
import torch
from torch import nn

from deployprune.errors import UnsafeModelError, UsageError
from deployprune.sources.models import load_model


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.fixture(scope="module")
def archive(net):
    """The bytes of every part of an exported program with a dynamic batch and free height."""
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=4, max=64)},)
    program = torch.export.export(net, (torch.randn(2, 3, 8, 8),), dynamic_shapes=shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    parts = zipfile.ZipFile(buffer)
    return {name: parts.read(name) for name in parts.namelist()}


def write(path, parts):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return path


def edited(archive, suffix, edit):
    name = next(name for name in archive if name.endswith(suffix))
    content = json.loads(archive[name])
    edit(content)
    return {**archive, name: json.dumps(content).encode()}


def test_a_plain_program_loads_and_can_be_captured_again(tmp_path, net, archive):
    loaded, ref = load_model(write(tmp_path / "net.pt2", archive))
    x = torch.randn(5, 3, 10, 8)
    assert torch.allclose(loaded(x), net(x), atol=1e-6)
    assert ref.kind == "exported"
    again = torch.export.export(loaded, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("b")},))
    assert torch.allclose(again.module()(x[:, :, :8]), net(x[:, :, :8]), atol=1e-6)
    assert sum(p.numel() for p in loaded.train().parameters()) == sum(p.numel() for p in net.parameters())


class Bomb:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


def test_pickled_sample_inputs_are_refused_and_run_nothing(tmp_path, archive):
    buffer = io.BytesIO()
    torch.save(((Bomb(tmp_path / "ran"),), {}), buffer)
    parts = {n: buffer.getvalue() if "sample_inputs" in n else data for n, data in archive.items()}
    with pytest.raises(UnsafeModelError, match="sample inputs"):
        load_model(write(tmp_path / "net.pt2", parts))
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused_and_run_nothing(tmp_path, archive):
    buffer = io.BytesIO()
    torch.save(Bomb(tmp_path / "ran"), buffer)

    def pickle_first(config):
        next(iter(config["config"].values()))["use_pickle"] = True

    parts = edited(archive, "weights_config.json", pickle_first)
    parts[next(name for name in parts if name.endswith("weight_0"))] = buffer.getvalue()
    with pytest.raises(UnsafeModelError, match="pickled"):
        load_model(write(tmp_path / "net.pt2", parts))
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError):
        load_model(tmp_path / "net.pt2", trust_pickle=True)
    assert (tmp_path / "ran").exists(), "the bomb was no bomb"


def test_an_expression_that_would_run_code_is_refused_and_runs_nothing(tmp_path, archive):
    """sympy evaluates the expressions of dynamic sizes."""
    code = f"__import__('os').system('touch {tmp_path / 'ran'}')"

    def plant(program):
        size = program["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][0]
        size["as_expr"]["expr_str"] = code

    path = write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant))
    with pytest.raises(UnsafeModelError, match="expression"):
        load_model(path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError):
        load_model(path, trust_pickle=True)
    assert (tmp_path / "ran").exists(), "the bomb was no bomb"


@pytest.mark.parametrize(
    "operator",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.ops.load_library",
        "_operator.methodcaller",
        "torch.ops.aten.from_file.default",
    ],
)
def test_an_operator_that_is_no_tensor_operation_is_refused(tmp_path, archive, operator):
    def plant(program):
        program["graph_module"]["graph"]["nodes"][2]["target"] = operator

    with pytest.raises(UnsafeModelError, match="operator"):
        load_model(write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant)))


def test_names_that_would_become_code_are_refused(tmp_path, archive):
    def plant(program):
        graph = program["graph_module"]["graph"]
        graph["inputs"][-1]["as_tensor"]["name"] = "x=print()"

    with pytest.raises(UnsafeModelError, match="name"):
        load_model(write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant)))

    def plant_enum(program):
        signature = program["graph_module"]["module_call_graph"][0]["signature"]
        context = json.dumps({"__enum__": True, "fqn": "antigravity:x", "name": "y"})
        signature["out_spec"] = json.dumps([1, {"type": "builtins.dict", "context": context, "children_spec": []}])

    with pytest.raises(UnsafeModelError):
        load_model(write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant_enum)))


def test_a_tensor_called_metadata_hides_nothing(tmp_path, archive):
    def plant(program):
        values = program["graph_module"]["graph"]["tensor_values"]
        values["metadata"] = json.loads(json.dumps(values["input"]))
        values["metadata"]["sizes"][0]["as_expr"]["expr_str"] = "exit()"
        values["target"] = values["input"]

    with pytest.raises(UnsafeModelError, match="expression"):
        load_model(write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant)))


def test_guards_are_never_run(tmp_path, archive):
    def plant(program):
        program["guards_code"] = [f"open({str(tmp_path / 'ran')!r}, 'w')"]

    loaded, _ = load_model(write(tmp_path / "net.pt2", edited(archive, "models/model.json", plant)))
    loaded(torch.randn(2, 3, 8, 8))
    torch.export.export(loaded, (torch.randn(2, 3, 8, 8),)).module()(torch.randn(2, 3, 8, 8))
    assert not (tmp_path / "ran").exists()


def test_compiled_libraries_are_refused(tmp_path, archive):
    root = next(iter(archive)).split("/")[0]
    with pytest.raises(UnsafeModelError, match="aotinductor"):
        load_model(write(tmp_path / "net.pt2", {**archive, f"{root}/data/aotinductor/model/a.so": b"x"}))


def test_a_damaged_program_is_a_usage_error(tmp_path, archive):
    parts = edited(archive, "models/model.json", lambda program: program.pop("graph_module"))
    with pytest.raises(UsageError, match="exported program"):
        load_model(write(tmp_path / "net.pt2", parts))
