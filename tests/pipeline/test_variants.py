"""A real network's variants are cut out of one file, and are what an export of each would have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deployprune.backends.registry import get_backend
from deployprune.config import load_config
from deployprune.export.template import Sample
from deployprune.pipeline.exporting import export_files
from deployprune.pipeline.variants import Variants, export_widths, variant_files
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import SilentObserver
from deployprune.records import Target


class Branches(nn.Module):
    """A residual and a concatenation, squeezed, in front of a flattened classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(16, 24, 1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1))
        self.side = nn.Conv2d(16, 12, 3, padding=1)
        self.head = nn.Linear(28 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        y = y + self.block(y)
        joined = torch.cat([y, self.side(y)], 1)
        return self.head(joined.flatten(1))


@pytest.fixture(scope="module")
def bench() -> Workbench:
    settings = {"target.backends": ["onnxruntime"]}
    module = Branches().eval()
    return Workbench(load_config(None, settings, {}), SilentObserver(), (module, (torch.zeros(1, 3, 4, 4),)))


def test_variants_are_cut_out_of_a_template(bench: Workbench, tmp_path: Path) -> None:
    backend = get_backend("onnxruntime")
    with variant_files(bench, 6) as variants:
        template = variants.template
        assert template is not None
        # One to learn from beside dense and one to be foretold are enough where a size is had by one group alone.
        assert sorted(file.name for file in variants.folder.glob("probe-*.onnx")) == ["probe-1.onnx", "probe-2.onnx"]
        widths = variants.widths[3]
        exported = export_widths(bench, widths, tmp_path / "real", ())["onnx"]
        assert template.foretells(Sample(model=onnx.load(exported), widths=widths))
        for index in range(len(variants.widths)):
            with backend.open(variants.path(index, backend), Target(backend="onnxruntime")) as session:
                outputs = session.run({session.inputs[0].name: np.ones((1, 3, 4, 4), np.float32)})
            assert outputs[0].shape == (1, 5)


def test_files_of_the_dense_model_that_are_there_are_not_made_again(bench: Workbench, tmp_path: Path) -> None:
    backend = get_backend("onnxruntime")
    dense = export_files(bench, bench.module, tmp_path, tmp_path / "dense").artifacts[0]
    files = {dense.format: tmp_path / dense.path}
    with variant_files(bench, 6, tmp_path, files) as variants:
        assert variants.template is not None
        for index in range(len(variants.widths)):
            variants.path(index, backend)
        made = sorted(file.name for file in variants.folder.glob("*.onnx"))
    assert made == ["probe-1.onnx", "probe-2.onnx", *(f"variant-{number}.onnx" for number in range(1, 6))]
    assert files["onnx"].is_file()


def test_many_groups_of_few_widths_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    """As are the heads of a transformer: twelve groups of three."""
    layers = [part for _ in range(12) for part in (nn.Linear(3, 3), nn.GELU())]
    module = nn.Sequential(nn.Linear(5, 3), *layers, nn.Linear(3, 5)).eval()
    config = load_config(None, {"target.backends": ["onnxruntime"]}, {})
    bench = Workbench(config, SilentObserver(), (module, (torch.zeros(1, 5),)))
    assert len(bench.groups) == 13
    with variant_files(bench, 4) as variants:
        template = variants.template
        assert template is not None
        for index, widths in enumerate(variants.widths):
            exported = export_widths(bench, widths, tmp_path / f"real-{index}", ())["onnx"]
            assert template.foretells(Sample(model=onnx.load(exported), widths=widths))


def test_a_format_that_is_not_made_from_onnx_is_exported_each_time_and_alone(tmp_path: Path) -> None:
    variants = two_variants(["litert"], tmp_path)
    assert variants.template is None
    assert variants.path(1, get_backend("litert")).is_file()
    assert [file.name for file in tmp_path.iterdir()] == ["variant-1.tflite"]


def test_formats_made_from_onnx_and_others_get_the_same_widths(tmp_path: Path) -> None:
    variants = two_variants(["litert", "onnxruntime"], tmp_path)
    assert variants.template is not None
    x = np.ones((1, 3, 4, 4), np.float32)
    for name in ("litert", "onnxruntime"):
        with get_backend(name).open(variants.path(1, get_backend(name)), Target(backend=name)) as session:
            assert session.run({session.inputs[0].name: x})[0].shape == (1, 5)
    dense, half = ({f.suffix: f.stat().st_size for f in tmp_path.glob(f"variant-{i}.*")} for i in range(2))
    assert half.keys() == dense.keys() == {".tflite", ".onnx"}
    assert all(half[suffix] < dense[suffix] for suffix in half)


def two_variants(backends: list[str], folder: Path) -> Variants:
    """The dense network, and one with half of its channels."""
    module = Branches().eval()
    settings = {"target.backends": backends}
    bench = Workbench(load_config(None, settings, {}), SilentObserver(), (module, (torch.zeros(1, 3, 4, 4),)))
    dense = bench.analysis.record.dense_widths()
    half = {group.name: max(group.minimum, group.size // 2) for group in bench.groups}
    return Variants(bench, (dense, half), folder)
