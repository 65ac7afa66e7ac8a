"""Small versions of the architectures that edge models are made of, each with the corner that breaks pruners."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(inner: int, outer: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outer),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))


class BasicBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = conv(inner, outer, stride=stride)
        self.conv2 = conv(outer, outer, act=False)
        self.stride, self.extra, self.kind = stride, outer - inner, shortcut
        needs = stride != 1 or inner != outer
        self.projection = conv(inner, outer, 1, stride, act=False) if needs and shortcut == "projection" else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        if self.projection is not None:
            x = self.projection(x)
        elif self.stride != 1 or self.extra:
            x = F.pad(
                x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2)
            )
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, shortcut: str, width: int = 16) -> None:
        super().__init__()
        self.stem = conv(3, width)
        self.stages = nn.Sequential(
            BasicBlock(width, width, 1, shortcut),
            BasicBlock(width, 2 * width, 2, shortcut),
            BasicBlock(2 * width, 2 * width, 1, shortcut),
            BasicBlock(2 * width, 4 * width, 2, shortcut),
        )
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class VGG(nn.Module):
    """The classifier reads flattened maps: every channel is a block of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 16), conv(16, 24), nn.MaxPool2d(2), conv(24, 32), nn.AdaptiveAvgPool2d(3))
        self.classifier = nn.Sequential(nn.Linear(32 * 9, 40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class DenseNet(nn.Module):
    def __init__(self, growth: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(16 + i * growth), nn.ReLU(), nn.Conv2d(16 + i * growth, growth, 3, padding=1, bias=False)
            )
            for i in range(4)
        )
        self.transition = conv(16 + 4 * growth, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(F.avg_pool2d(self.transition(torch.cat(features, 1)), 4).mean((2, 3)))


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.one = conv(16, 12, 1)
        self.three = nn.Sequential(conv(16, 8, 1), conv(8, 16))
        self.five = nn.Sequential(conv(16, 8, 1), conv(8, 10, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(16, 6, 1))
        self.merge = conv(44, 20, 1)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)
        return self.head(self.merge(x).amax((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(self.pool(x)))))


class InvertedResidual(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int, *, excite: bool) -> None:
        super().__init__()
        hidden = inner * 3
        self.expand = conv(inner, hidden, 1)
        self.depthwise = conv(hidden, hidden, 3, stride, groups=hidden)
        self.excite = SqueezeExcite(hidden, 8) if excite else nn.Identity()
        self.project = conv(hidden, outer, 1, act=False)
        self.residual = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNet(nn.Module):
    def __init__(self, *, excite: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.blocks = nn.Sequential(
            InvertedResidual(16, 16, 1, excite=excite),
            InvertedResidual(16, 24, 2, excite=excite),
            InvertedResidual(24, 24, 1, excite=excite),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(conv(half, half, 1), conv(half, half, groups=half, act=False), conv(half, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat([left, self.branch(right)], 1), 2)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 24)
        self.units = nn.Sequential(ShuffleUnit(24), ShuffleUnit(24))
        self.tail = conv(24, 32, 1)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tail(self.units(self.stem(x))).mean([2, 3]))


class ResNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 32)
        self.reduce, self.grouped, self.expand = conv(32, 32, 1), conv(32, 32, groups=8), conv(32, 32, 1, act=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(x + self.expand(self.grouped(self.reduce(x)))).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self, upsample: str) -> None:
        super().__init__()
        self.down1, self.down2 = conv(3, 16), conv(16, 32, stride=2)
        self.middle = conv(32, 32)
        self.up: nn.Module = (
            nn.ConvTranspose2d(32, 16, 2, 2)
            if upsample == "transpose"
            else nn.Sequential(nn.Conv2d(32, 64, 1), nn.PixelShuffle(2))
        )
        self.merge = conv(32, 16)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down1(x)
        return self.head(self.merge(torch.cat([skip, self.up(self.middle(self.down2(skip)))], 1)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1)
        x = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, self.num_heads * self.head_dim)
        return self.proj(x)


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, attention: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention: nn.Module = (
            nn.MultiheadAttention(width, heads, batch_first=True) if attention == "stock" else Attention(width, heads)
        )
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        mixed = (
            self.attention(y, y, y, need_weights=False)[0]
            if isinstance(self.attention, nn.MultiheadAttention)
            else self.attention(y)
        )
        x = x + mixed
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, attention: str = "own", width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.position = nn.Parameter(torch.randn(1, 17, width) * 0.1)
        self.blocks = nn.Sequential(Encoder(width, heads, attention), Encoder(width, heads, attention))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.project(F.gelu(self.expand(y)))).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 4), nn.GroupNorm(1, width))
        self.blocks = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class Corners(nn.Module):
    """Movement that other pruners get silently wrong: chunk-swap-cat, flip, roll, an index, permute and flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16)
        self.mix1, self.mix2, self.mix3 = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 8, 1)
        self.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(3)))
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, dim=1)
        x = self.mix1(torch.cat([b, a], dim=1)).flip(1)
        x = self.mix2(torch.roll(x, 5, dims=1))[:, self.order]
        x = F.adaptive_avg_pool2d(self.mix3(x), 4)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "resnet-projection": lambda: ResNet("projection"),
    "resnet-pad": lambda: ResNet("pad"),
    "vgg": VGG,
    "densenet": DenseNet,
    "inception": Inception,
    "mobilenet-v2": lambda: MobileNet(excite=False),
    "mobilenet-v3": lambda: MobileNet(excite=True),
    "shufflenet": ShuffleNet,
    "resnext": ResNeXt,
    "unet-transpose": lambda: UNet("transpose"),
    "unet-pixelshuffle": lambda: UNet("pixelshuffle"),
    "vit": ViT,
    "vit-stock-attention": lambda: ViT("stock"),
    "convnext": ConvNeXt,
    "corners": Corners,
}
