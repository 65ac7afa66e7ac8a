"""Networks that the benchmarks train or time; name them with ``--arch tools/networks.py:FACTORY``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2015); a projection where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inner != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inner, H, W) to (N, outer, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet20(nn.Module):
    """The CIFAR ResNet with three stages of ``depth`` blocks; 20 layers at depth 3."""

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 16, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        blocks: list[nn.Module] = []
        inner = width
        for stage in range(3):
            outer = width * 2**stage
            for index in range(depth):
                blocks.append(BasicBlock(inner, outer, 2 if stage and index == 0 else 1))
                inner = outer
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(inner, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (N, channels, H, W)."""
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def resnet20(width: int = 16) -> nn.Module:
    """ResNet-20 for 28 x 28 grey images, seeded."""
    torch.manual_seed(0)
    return ResNet20(width=width)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al. 2018)."""

    def __init__(self, inner: int, outer: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inner * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(inner, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
        ]
        layers += [nn.Conv2d(hidden, outer, 1, bias=False), nn.BatchNorm2d(outer)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inner, H, W) to (N, outer, H / stride, W / stride)."""
        y = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018, table 2): expansion, channels, repeats and stride of every stage."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6()]
        inner = 32
        for expansion, outer, repeats, stride in self.STAGES:
            for index in range(repeats):
                layers.append(InvertedResidual(inner, outer, stride if index == 0 else 1, expansion))
                inner = outer
        layers += [nn.Conv2d(inner, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (N, 3, H, W)."""
        return self.head(self.features(x).mean((2, 3)))


def mobilenet_v2() -> nn.Module:
    """MobileNetV2 with 1000 classes, seeded."""
    torch.manual_seed(0)
    return MobileNetV2()
