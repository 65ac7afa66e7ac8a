"""Loading of model files: what loads, what is refused, and that refused files ran nothing."""

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deployprune.errors import UnsafeModelError, UnsupportedModelError, UsageError
from deployprune.sources.models import load_model


class Own(nn.Module):
    def __init__(self, width: int = 4):
        super().__init__()
        self.fc = nn.Linear(3, width)

    def forward(self, x):
        return self.fc(x)


def own_factory(width: int = 4):
    return Own(width)


def stock_net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.1), nn.Identity()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.ModuleDict({"head": nn.Linear(8, 4)})["head"],
    )


def transformer():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
    return nn.Sequential(
        nn.Linear(8, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 2)
    )


class Bomb:
    """Pickles as a call that writes the sentinel file."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def bombs(sentinel: Path):
    return {
        "system": Bomb(os.system, f"touch {sentinel}"),
        "eval": Bomb(eval, f"open({str(sentinel)!r}, 'w').close()"),
        "state": {"fc.weight": torch.zeros(4, 3), "fc.bias": Bomb(os.system, f"touch {sentinel}")},
        "module": nn.Sequential(nn.Linear(2, 2), nn.ReLU()).append(_armed(sentinel)),
    }


def _armed(sentinel: Path):
    layer = nn.Linear(2, 2)
    layer.extra = Bomb(os.system, f"touch {sentinel}")
    return layer


@pytest.mark.parametrize(("build", "shape"), [(stock_net, (2, 3, 8, 8)), (transformer, (2, 5, 8))])
def test_a_whole_module_of_stock_classes_loads_without_trust(tmp_path, build, shape):
    model = build().eval()
    torch.save(model, tmp_path / "model.pt")
    loaded, ref = load_model(tmp_path / "model.pt")
    x = torch.randn(shape)
    assert torch.equal(loaded(x), model(x))
    assert not loaded.training
    assert (ref.kind, ref.trusted_pickle, len(ref.sha256)) == ("module", False, 64)


def test_stock_classes_are_admitted_for_one_read_only(tmp_path):
    torch.save(stock_net(), tmp_path / "model.pt")
    load_model(tmp_path / "model.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pt", weights_only=True)


@pytest.mark.parametrize("kind", ["system", "eval", "state", "module"])
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, kind, form):
    sentinel = tmp_path / "ran"
    torch.save(bombs(sentinel)[kind], tmp_path / "evil.pt", _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UnsafeModelError) as caught:
        load_model(tmp_path / "evil.pt", arch="nowhere:nothing")
    assert not sentinel.exists()
    assert "--arch" in caught.value.hint
    assert "--trust-pickle" in caught.value.hint
    assert caught.value.exit_code == 2
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert sentinel.exists(), "the bomb was no bomb"


def test_a_bare_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    sentinel = tmp_path / "ran"
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(bombs(sentinel)["system"]))
    with pytest.raises((UnsafeModelError, UsageError)):
        load_model(tmp_path / "evil.pkl")
    assert not sentinel.exists()


def test_own_classes_are_refused_by_name_and_load_when_trusted(tmp_path):
    torch.save(Own(), tmp_path / "own.pt")
    with pytest.raises(UnsafeModelError, match=r"test_model_files\.Own"):
        load_model(tmp_path / "own.pt")
    loaded, ref = load_model(tmp_path / "own.pt", trust_pickle=True)
    assert type(loaded) is Own
    assert ref.trusted_pickle


def test_a_name_that_only_passes_through_a_stock_module_is_not_stock(tmp_path):
    """torch.nn.modules.module imports functools, warnings and more; none of that may be reached through it."""
    data = b"\x80\x02ctorch.nn.modules.module\nwarnings\n."
    _write_checkpoint(tmp_path / "sly.pt", data)
    with pytest.raises(UnsafeModelError, match=r"torch\.nn\.modules\.module\.warnings"):
        load_model(tmp_path / "sly.pt")


def test_a_file_does_not_get_modules_imported_by_naming_them(tmp_path, monkeypatch):
    """A folder called torchvision beside the model is not the package that pip installed."""
    sentinel = tmp_path / "ran"
    package = tmp_path / "torchvision" / "models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text(f"open({str(sentinel)!r}, 'w').close()")
    (package / "__init__.py").write_text("")
    (package / "resnet.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    _write_checkpoint(tmp_path / "sly.pt", b"\x80\x02ctorchvision.models.resnet\nResNet\n.")
    with pytest.raises(UnsafeModelError, match=r"torchvision\.models\.resnet\.ResNet"):
        load_model(tmp_path / "sly.pt")
    assert not sentinel.exists()


def test_modules_of_an_installed_torchvision_are_stock(tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "torchvision" / "models").mkdir(parents=True)
    (site / "torchvision" / "__init__.py").write_text("")
    (site / "torchvision" / "models" / "__init__.py").write_text("")
    (site / "torchvision" / "models" / "tiny.py").write_text(
        "from torch import nn\nclass Tiny(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(3, 2)\n    def forward(self, x):\n        return self.fc(x)\n"
    )
    (site / "torchvision-0.99.dist-info").mkdir()
    (site / "torchvision-0.99.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.99\n"
    )
    monkeypatch.syspath_prepend(site)
    from torchvision.models.tiny import Tiny

    torch.save(Tiny(), tmp_path / "tiny.pt")
    assert type(load_model(tmp_path / "tiny.pt")[0]) is Tiny
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        sys.modules.pop(name)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}]
)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_fills_the_module_that_arch_builds(tmp_path, wrap, legacy):
    own = Own(6)
    torch.save(wrap(own.state_dict()), tmp_path / "weights.pt", _use_new_zipfile_serialization=not legacy)
    loaded, ref = load_model(tmp_path / "weights.pt", arch=f"{__file__}:own_factory", arch_kwargs={"width": 6})
    assert torch.equal(loaded.fc.weight, own.fc.weight)
    assert (ref.kind, ref.arch_kwargs) == ("state_dict", {"width": 6})


def test_safetensors_fill_the_module_that_arch_builds(tmp_path):
    own = Own()
    save_file(own.state_dict(), tmp_path / "weights.safetensors")
    loaded, ref = load_model(tmp_path / "weights.safetensors", arch=f"{__file__}:Own")
    assert torch.equal(loaded.fc.weight, own.fc.weight)
    assert ref.kind == "safetensors"
    with pytest.raises(UsageError, match="weights only"):
        load_model(tmp_path / "weights.safetensors")


def test_weights_without_arch_and_weights_that_do_not_fit_say_what_is_wrong(tmp_path):
    state = {"fc.weight": torch.zeros(4, 9), "gone.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="weights only") as caught:
        load_model(tmp_path / "weights.pt")
    assert "--arch" in caught.value.hint
    with pytest.raises(UsageError, match=r"missing: fc\.bias; unexpected: gone\.weight; other shape: fc\.weight \(4x9"):
        load_model(tmp_path / "weights.pt", arch=f"{__file__}:Own")


def test_arch_that_fails_or_gives_no_module_is_a_usage_error(tmp_path):
    torch.save(Own().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(UsageError, match="unexpected keyword"):
        load_model(tmp_path / "weights.pt", arch=f"{__file__}:Own", arch_kwargs={"depth": 3})
    with pytest.raises(UsageError, match="gave dict"):
        load_model(tmp_path / "weights.pt", arch="builtins:dict")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"hello, I am text", "not a model"),
        (bytes(range(7, 200)), "not a model"),
        (b"PK\x03\x04rubbish", "damaged"),
    ],
)
def test_what_is_not_a_model_is_a_usage_error(tmp_path, content, words):
    (tmp_path / "thing.pt").write_bytes(content)
    with pytest.raises(UsageError, match=words):
        load_model(tmp_path / "thing.pt")


def test_missing_cut_off_and_folder_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        load_model(tmp_path / "nowhere.pt")
    with pytest.raises(UsageError, match="folder"):
        load_model(tmp_path)
    torch.save(stock_net(), tmp_path / "model.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:-400])
    with pytest.raises(UsageError, match="damaged"):
        load_model(tmp_path / "cut.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UsageError, match="holds no model: list"):
        load_model(tmp_path / "list.pt")


def test_runtime_files_and_torchscript_are_refused_with_advice(tmp_path):
    _write_zip(tmp_path / "script.pt", {"s/data.pkl": b"", "s/constants.pkl": b"", "s/code/a.py": b""})
    (tmp_path / "net.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    (tmp_path / "net.xml").write_bytes(b'<?xml version="1.0"?><net></net>')
    for name, words in (("script.pt", "TorchScript"), ("net.onnx", "ONNX"), ("net.xml", "OpenVINO")):
        with pytest.raises(UnsupportedModelError, match=words) as caught:
            load_model(tmp_path / name)
        assert caught.value.hint


def _write_checkpoint(path: Path, pickled: bytes):
    buffer = io.BytesIO()
    torch.save({}, buffer)
    parts = zipfile.ZipFile(buffer)
    changed = {n: pickled if n.endswith("data.pkl") else parts.read(n) for n in parts.namelist()}
    _write_zip(path, changed)


def _write_zip(path: Path, parts: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_a_factory_in_the_place_of_a_file_is_told_where_it_belongs():
    with pytest.raises(UsageError, match="there is no file nets:small") as caught:
        load_model("nets:small")
    assert "--arch nets:small" in caught.value.hint


def test_a_pickle_of_nonsense_is_damaged_in_words(tmp_path):
    (tmp_path / "garbage.pt").write_bytes(b"\x80\x04hello")
    with pytest.raises(UsageError, match="it is damaged: its pickle cannot be read"):
        load_model(tmp_path / "garbage.pt")


def test_a_factory_that_fails_is_named_with_its_line(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "weights.pt")
    (tmp_path / "mine.py").write_text("def build(width):\n    return {}[width]\n")
    with pytest.raises(UsageError, match=r"mine\.py:build failed with {'width': 3}: KeyError: 3 \(mine\.py:2\)"):
        load_model(tmp_path / "weights.pt", arch=f"{tmp_path}/mine.py:build", arch_kwargs={"width": 3})
