"""One small residual network, written in any format."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from deployprune.export.formats import Material, get_format
from deployprune.export.onnx import export_onnx


class ContractNet(nn.Module):
    """A stem, one residual block of two convolutions, pooling, and 10 class scores; every convolution is 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.scores = nn.Linear(channels, 10)

    def forward(self, image: Tensor) -> Tensor:
        x = torch.relu(self.stem(image))
        x = torch.relu(self.second(torch.relu(self.first(x))) + x)
        return self.scores(torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1))


def write_net(name: str, stem: Path, *, channels: int, batch: int, static: bool = False) -> Path:
    """The network as ``stem`` in the format called ``name``, with one input ``image`` of 3x16x16.

    A format that can has a dynamic batch, unless ``static``.
    """
    module, image = ContractNet(channels).eval(), torch.randn(batch, 3, 16, 16)
    onnx = get_format("onnx").path(stem)
    onnx.write_bytes(_exported(channels, batch, static))
    path = get_format(name).path(stem)
    get_format(name).write(Material(module=module, examples=(image,), input_names=("image",), onnx=onnx), path)
    return path


@cache
def _exported(channels: int, batch: int, static: bool) -> bytes:
    """The network as ONNX, which all other formats come with."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        image = torch.randn(batch, 3, 16, 16)
        export_onnx(ContractNet(channels).eval(), (image,), path, input_names=["image"], static=static)
        return path.read_bytes()
