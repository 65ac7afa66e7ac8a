"""What users write: inputs, Python callables and zoo names."""

import sys

import pytest
import torch

from deployprune.errors import UsageError
from deployprune.records import InputSpec
from deployprune.sources.callables import resolve
from deployprune.sources.inputs import example_inputs, parse_input, program_inputs
from deployprune.sources.models import load_model


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("1x3x224x224", InputSpec(name="input", shape=(1, 3, 224, 224))),
        ("image:2x1x8x8", InputSpec(name="image", shape=(2, 1, 8, 8))),
        ("ids:1x128:int64", InputSpec(name="ids", shape=(1, 128), dtype="int64")),
        ("1,16:float64", InputSpec(name="input", shape=(1, 16), dtype="float64")),
    ],
)
def test_inputs_are_read(text, spec):
    assert parse_input(text) == spec


@pytest.mark.parametrize("text", ["", "3 by 4", "1x0x3", "x:1x3:float33", "1x3x", "a:b:1x3"])
def test_other_forms_of_inputs_are_refused(text):
    with pytest.raises(UsageError):
        parse_input(text)


class TwoInputs(torch.nn.Module):
    def forward(self, image, ids):
        return image.mean((2, 3)) + ids.sum(1, keepdim=True)


def test_the_inputs_of_an_exported_program_are_its_own():
    batch, free = torch.export.Dim("batch"), torch.export.Dim("free")
    examples = torch.randn(2, 3, 8, 8), torch.ones(2, 5, dtype=torch.int64)
    programs = {
        name: torch.export.export(TwoInputs(), examples, dynamic_shapes=shapes).module()
        for name, shapes in {
            "batched": ({0: batch}, {0: batch}),
            "fixed": None,
            "open": ({0: batch, 2: free}, {0: batch}),
        }.items()
    }
    assert program_inputs(programs["batched"]) == (
        InputSpec(name="image", shape=(1, 3, 8, 8)),
        InputSpec(name="ids", shape=(1, 5), dtype="int64"),
    )
    assert program_inputs(programs["fixed"])[0].shape == (2, 3, 8, 8)
    assert program_inputs(programs["open"]) == program_inputs(TwoInputs()) == ()


def test_examples_are_seeded_and_take_another_batch():
    specs = (parse_input("1x3x4x4"), parse_input("ids:1x7:int64"))
    first, again, other = (example_inputs(specs, seed, batch=5) for seed in (1, 1, 2))
    assert [tuple(x.shape) for x in first] == [(5, 3, 4, 4), (5, 7)]
    assert [x.dtype for x in first] == [torch.float32, torch.int64]
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert first[1].max() <= 1


def test_callables_come_from_modules_and_files_and_leave_the_path_alone(tmp_path, monkeypatch):
    (tmp_path / "mine_model.py").write_text("import mine_helper\nclass Outer:\n    def inner(): return mine_helper.X\n")
    (tmp_path / "mine_helper.py").write_text("X = 7\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert resolve("mine_model:Outer.inner")() == 7
    assert resolve(f"{tmp_path}/mine_model.py:Outer.inner")() == 7
    assert resolve("mine_model.py:Outer") is resolve("mine_model.py:Outer")
    assert sys.path == before
    for name in ("mine_model", "mine_helper"):
        sys.modules.pop(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("justaname", "does not name"),
        ("no_such_module_here:x", "cannot import"),
        ("json:loadz", "no attribute"),
        ("missing.py:x", "no file"),
        ("broken.py:x", "ZeroDivisionError"),
    ],
)
def test_wrong_callables_are_usage_errors(tmp_path, monkeypatch, name, words):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        resolve(name)


def test_a_zoo_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="not installed") as caught:
        load_model("timm:resnet18")
    assert caught.value.hint == "pip install timm"


def test_torchvision_and_timm_models_are_built_without_weights(tmp_path, monkeypatch):
    """The packages are stood in for; what is checked is how they are asked, and that nothing is downloaded."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("")
    (tmp_path / "torchvision" / "models.py").write_text(
        "from torch import nn\ndef list_models(): return ['resnet9']\n"
        "def get_model(name, *, weights, weights_backbone, width=2):\n"
        "    assert weights is None and weights_backbone is None\n    return nn.Linear(3, width)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model, ref = load_model("torchvision:resnet9", arch_kwargs={"width": 5})
    again, _ = load_model("torchvision:resnet9", arch_kwargs={"width": 5})
    assert torch.equal(model.weight, again.weight)
    assert (ref.kind, ref.source, model.out_features) == ("zoo", "torchvision:resnet9", 5)
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    filled, _ = load_model(tmp_path / "w.pt", arch="torchvision:resnet9")
    assert torch.equal(filled.weight, torch.load(tmp_path / "w.pt")["weight"])
    with pytest.raises(UsageError, match="no model 'resnet10'"):
        load_model("torchvision:resnet10")
    for name in ("torchvision", "torchvision.models"):
        sys.modules.pop(name)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    folder = tmp_path_factory.mktemp("vit")
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    return folder, model


def test_a_transformer_is_built_from_its_folder_with_its_weights(vit, capfd):
    folder, model = vit
    loaded, ref = load_model(f"transformers:{folder}")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(x).logits, model(x).logits)
    assert ref.kind == "zoo"
    assert capfd.readouterr() == ("", "")


def test_a_transformer_class_can_be_named_and_a_head_without_weights_is_refused(vit):
    folder, model = vit
    loaded, _ = load_model(f"transformers:ViTForImageClassification:{folder / 'config.json'}")
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in model.parameters())
    with pytest.raises(UsageError, match="lack"):
        load_model(f"transformers:ViTForMaskedImageModeling:{folder}")
    with pytest.raises(UsageError, match="no model class"):
        load_model(f"transformers:os:{folder}")
    with pytest.raises(UsageError, match=r"config\.json"):
        load_model(f"transformers:{folder}/nowhere")
