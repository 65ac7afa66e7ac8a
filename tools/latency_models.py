"""The networks of `tools/bench_latency`: what edge models are made of, with random weights, at 224 or 160 px."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MODELS", "BenchModel"]


@dataclass(frozen=True)
class BenchModel:
    """A network's factory and the side of its square input."""

    factory: Callable[[], nn.Module]
    side: int = 224

    def build(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """The network, seeded and in evaluation mode, with an example input."""
        torch.manual_seed(0)
        module = self.factory().eval()
        return module, (torch.randn(1, 3, self.side, self.side, generator=torch.Generator().manual_seed(1)),)


class Scores(nn.Module):
    """A classifier of the transformers package that gives its scores alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (N, 3, H, W)."""
        return self.model(x).logits


def efficientnet() -> nn.Module:
    """EfficientNet-B0, its average pool written so that every runtime reads it."""
    arguments = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "image_size": 224}
    scores = stock("EfficientNetForImageClassification", "EfficientNetConfig", **arguments)()
    scores.model.efficientnet.pooler = nn.AdaptiveAvgPool2d(1)
    return scores


def stock(model: str, config: str, **arguments: Any) -> Callable[[], nn.Module]:
    """A factory of a class of the transformers package from its configuration's arguments."""

    def build() -> nn.Module:
        import transformers

        settings = getattr(transformers, config)(num_labels=1000, **arguments)
        return Scores(getattr(transformers, model)(settings))

    return build


def conv_bn(inner: int, outer: int, kernel: int, stride: int, activation: nn.Module, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), activation)


class SqueezeExcite(nn.Module):
    """Channel attention (Hu et al. 2018) with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, max(8, channels // 4), 1)
        self.up = nn.Conv2d(max(8, channels // 4), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (N, C, H, W)."""
        scale = self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(scale)


class InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze and excite, project (Howard et al. 2019)."""

    def __init__(self, inner: int, block: tuple[int, int, int, bool, bool, int]) -> None:
        super().__init__()
        kernel, hidden, outer, attend, swish, stride = block
        activation = nn.Hardswish() if swish else nn.ReLU()
        self.expand = conv_bn(inner, hidden, 1, 1, activation) if hidden != inner else nn.Identity()
        self.depthwise = conv_bn(hidden, hidden, kernel, stride, activation, groups=hidden)
        self.attention = SqueezeExcite(hidden) if attend else nn.Identity()
        self.project = conv_bn(hidden, outer, 1, 1, nn.Identity())
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inner, H, W) to (N, outer, H / stride, W / stride)."""
        y = self.project(self.attention(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNetV3(nn.Module):
    """MobileNetV3-Large's stages (Howard et al. 2019)."""

    BLOCKS = (  # kernel, hidden, outer, attention, hard swish, stride
        (3, 16, 16, False, False, 1),
        (3, 64, 24, False, False, 2),
        (3, 72, 24, False, False, 1),
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 480, 112, True, True, 1),
        (3, 672, 112, True, True, 1),
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [conv_bn(3, 16, 3, 2, nn.Hardswish())]
        inner = 16
        for block in self.BLOCKS:
            blocks.append(InvertedResidual(inner, block))
            inner = block[2]
        self.features = nn.Sequential(*blocks, conv_bn(inner, 960, 1, 1, nn.Hardswish()))
        self.head = nn.Sequential(nn.Linear(960, 1280), nn.Hardswish(), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (N, 3, H, W)."""
        return self.head(self.features(x).mean((2, 3)))


class DenseLayer(nn.Module):
    """Batch norm, 1 x 1, batch norm, 3 x 3; its channels join those it saw (Huang et al. 2017)."""

    def __init__(self, inner: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inner), nn.Conv2d(inner, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, inner, H, W) to (N, inner + growth, H, W)."""
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return torch.cat([x, y], 1)


class DenseNet(nn.Module):
    """DenseNet-121's stages (Huang et al. 2017)."""

    def __init__(self, growth: int = 32, depths: tuple[int, ...] = (6, 12, 24, 16)) -> None:
        super().__init__()
        width = 2 * growth
        stages: list[nn.Module] = [conv_bn(3, width, 7, 2, nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
        for index, depth in enumerate(depths):
            stages += [DenseLayer(width + i * growth, growth) for i in range(depth)]
            width += depth * growth
            if index < len(depths) - 1:
                half = nn.Conv2d(width, width // 2, 1, bias=False)
                stages += [nn.BatchNorm2d(width), nn.ReLU(), half, nn.AvgPool2d(2)]
                width //= 2
        self.features = nn.Sequential(*stages, nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of images (N, 3, H, W)."""
        return self.head(self.features(x).mean((2, 3)))


_TINY = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}

MODELS = {
    "resnet18": BenchModel(
        stock(
            "ResNetForImageClassification",
            "ResNetConfig",
            layer_type="basic",
            depths=[2, 2, 2, 2],
            hidden_sizes=[64, 128, 256, 512],
        )
    ),
    "resnet50": BenchModel(stock("ResNetForImageClassification", "ResNetConfig"), side=160),
    "mobilenetv2": BenchModel(stock("MobileNetV2ForImageClassification", "MobileNetV2Config")),
    "mobilenetv3": BenchModel(MobileNetV3),
    "efficientnet-b0": BenchModel(efficientnet),
    "convnext-tiny": BenchModel(stock("ConvNextForImageClassification", "ConvNextConfig"), side=160),
    "deit-tiny": BenchModel(stock("DeiTForImageClassification", "DeiTConfig", **_TINY)),
    "densenet121": BenchModel(DenseNet, side=160),
}
