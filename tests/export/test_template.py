"""A template learned from two exports foretells a third, and says so where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deployprune.backends.registry import get_backend
from deployprune.export.onnx import export_onnx
from deployprune.export.template import Sample, learn_template
from deployprune.records import DimForm, Target


class Mixed(nn.Module):
    """A depthwise convolution, a concatenation, a flattened linear layer: group counts, sums and products of sizes."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, a, 3, padding=1)
        self.norm = nn.BatchNorm2d(a)
        self.depth = nn.Conv2d(a, a, 3, padding=1, groups=a)
        self.side = nn.Conv2d(a, b, 1)
        self.head = nn.Linear((a + b) * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depth(F.relu(self.norm(self.stem(x))))
        joined = torch.cat([y, self.side(y)], 1)
        return self.head(joined.reshape(x.shape[0], joined.shape[1] * 16))


class Deeper(Mixed):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 2.0


WIDTHS = [{"a": 24, "b": 16}, {"a": 10, "b": 7}, {"a": 17, "b": 5}]
A, B = ((1.0, ("a",)),), ((1.0, ("b",)),)


def find(*seen: dict[str, int]):
    forms = [DimForm(constant=0, terms=A), DimForm(constant=0, terms=B), DimForm(constant=0, terms=(*A, *B))]
    forms.append(DimForm(constant=0, terms=((16.0, ("a",)), (16.0, ("b",)))))

    def search(sizes: tuple[int, ...]) -> DimForm | None:
        if len(set(sizes)) == 1:
            return DimForm(constant=sizes[0])
        return next((form for form in forms if [form.size(row) for row in seen] == list(sizes)), None)

    return search


def sample(folder: Path, widths: dict[str, int], kind: type[Mixed] = Mixed) -> Sample:
    path = folder / "model.onnx"
    export_onnx(kind(**widths), (torch.zeros(1, 3, 4, 4),), path, input_names=["x"])
    return Sample(model=onnx.load(path), widths=widths)


def test_foretells_an_export_that_it_was_not_learned_from(tmp_path: Path) -> None:
    samples = [sample(tmp_path, widths) for widths in WIDTHS]
    template = learn_template(samples[:2], find(*WIDTHS[:2]))
    assert template is not None
    assert template.foretells(samples[2])
    assert not template.foretells(Sample(model=samples[2].model, widths={"a": 17, "b": 6}))


def test_what_it_writes_runs(tmp_path: Path) -> None:
    template = learn_template([sample(tmp_path, widths) for widths in WIDTHS[:2]], find(*WIDTHS[:2]))
    assert template is not None
    template.write({"a": 12, "b": 8}, tmp_path / "cut.onnx")
    onnx.checker.check_model(tmp_path / "cut.onnx", full_check=True)
    with get_backend("onnxruntime").open(tmp_path / "cut.onnx", Target(backend="onnxruntime")) as session:
        outputs = session.run({"x": np.ones((1, 3, 4, 4), np.float32)})
    assert outputs[0].shape == (1, 5)
    assert np.isfinite(outputs[0]).all()


@pytest.mark.parametrize("forms", ["of the widths", "none"])
def test_there_is_none_where_exports_differ_in_more_than_sizes(tmp_path: Path, forms: str) -> None:
    other = Deeper if forms == "of the widths" else Mixed
    samples = [sample(tmp_path, WIDTHS[0]), sample(tmp_path, WIDTHS[1], other)]
    assert learn_template(samples, find(*WIDTHS[:2]) if other is Deeper else find()) is None
