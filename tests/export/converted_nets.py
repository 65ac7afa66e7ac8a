"""Small modules, one for each thing that a converter may get wrong, written as ONNX and on."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployprune.export.formats import Material, get_format
from deployprune.export.onnx import export_onnx


class Mixed(nn.Module):
    """Grouped, depthwise and transposed convolutions, a channel shuffle, chunks, squeeze-excite; outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = F.relu6(self.stem(x))
        b, c, h, w = y.shape
        y = self.grouped(y).view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        first, second = F.hardswish(self.depthwise(y)).chunk(2, 1)
        y = torch.cat([second, first], 1)
        y = y * torch.sigmoid(self.squeeze(y.mean((2, 3), keepdim=True)))
        y = self.up(y)
        return {"scores": self.head(F.adaptive_avg_pool2d(y, 1).flatten(1)), "map": y}


class Two(nn.Module):
    """Two inputs, whose names are not in alphabetical order."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.b = nn.Linear(4, 16)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.a(x) * torch.tanh(self.b(y))


class Words(nn.Module):
    """Integers in."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids).mean(1))


class Sums(nn.Module):
    """Running sums, which some runtimes do not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1) + torch.erf(x)


class Memory(nn.Module):
    """A recurrent layer, the file of which makes some runtimes crash."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


def write_as(
    name: str, module: nn.Module, examples: tuple[Tensor, ...], folder: Path, names: tuple[str, ...] = ("image",)
) -> Path:
    """``module`` in the format called ``name``."""
    module.eval()
    onnx_path = folder / "net.onnx"
    export_onnx(module, examples, onnx_path, input_names=names)
    path = get_format(name).path(folder / "net")
    get_format(name).write(Material(module=module, examples=examples, input_names=names, onnx=onnx_path), path)
    return path
