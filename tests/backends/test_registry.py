from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, PackageNotFoundError

import pytest

from deployprune.backends import installed, registry
from deployprune.backends.fake import FakeBackend
from deployprune.backends.registry import available_backends, get_backend, require_backend
from deployprune.errors import BackendUnavailableError
from deployprune.records import Availability


class NamedBackend(FakeBackend):
    name = "elsewhere"

    def availability(self) -> Availability:
        return Availability(name=self.name, available=True, version="1.0")


def test_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(BackendUnavailableError, match="tensorrt") as caught:
        get_backend("tensorrt")
    assert caught.value.exit_code == 3
    assert caught.value.hint is not None
    assert all(name in caught.value.hint for name in ("fake", "onnxruntime", "openvino"))


MODULES = {
    "onnxruntime": ("onnxruntime", "pip install onnxruntime onnx"),
    "openvino": ("openvino", "pip install openvino"),
    "litert": ("ai_edge_litert.interpreter", "pip install 'deployprune[litert]'"),
    "ncnn": ("ncnn", "pip install 'deployprune[ncnn]'"),
    "mnn": ("MNN", "pip install 'deployprune[mnn]'"),
    "executorch": ("executorch.extension.pybindings._C", "pip install 'deployprune[executorch]'"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_backend_that_is_not_installed_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(distribution: str) -> str:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(installed, "version", missing)
    assert [found.available for found in available_backends() if found.name == name] == [False]
    assert get_backend(name).name == name
    with pytest.raises(BackendUnavailableError, match=name) as caught:
        require_backend(name)
    assert caught.value.hint == MODULES[name][1]


@pytest.mark.parametrize("name", MODULES)
def test_a_runtime_that_cannot_be_imported_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, hint = MODULES[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendUnavailableError, match=name) as caught:
        get_backend(name).load()
    assert caught.value.hint == hint


def test_other_packages_can_announce_backends_but_not_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{__name__}:NamedBackend"
    entries = tuple(EntryPoint(name, place, "deployprune.backends") for name in ("elsewhere", "onnxruntime"))
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == "deployprune.backends" else ())
    assert get_backend("elsewhere").name == "elsewhere"
    assert get_backend("onnxruntime").name == "onnxruntime"
    names = [found.name for found in available_backends()]
    assert names == sorted(set(names))
    assert {"elsewhere", *MODULES} < set(names)
