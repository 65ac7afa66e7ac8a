"""Networks made of random steps, for properties that must hold whatever the graph."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

SIDE = 4


class Step(nn.Module):
    """One step over the tensors made so far; ``out`` is how many channels it gives."""

    def __init__(self, channels: int, other: int) -> None:
        super().__init__()
        self.channels, self.other, self.out = channels, other, channels


class Convolution(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.out = 8 + 4 * (other % 3)
        self.conv, self.norm = nn.Conv2d(channels, self.out, 3, padding=1), nn.BatchNorm2d(self.out)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class Grouped(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        groups = channels if other % 2 else 2
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.hardswish(self.conv(x))


class Residual(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.match = nn.Conv2d(other, channels, 1) if other != channels else nn.Identity()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.match(y)


class Concat(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.out = channels + other

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], dim=1)


class SwapHalves(Step):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        left, right = torch.split(x, [self.channels // 2, self.channels - self.channels // 2], dim=1)
        return torch.cat([right, left], dim=1)


class Shuffle(Step):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.view(-1, 2, self.channels // 2, SIDE, SIDE).transpose(1, 2).reshape(-1, self.channels, SIDE, SIDE)


class Gate(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.squeeze, self.excite = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None]


class Attend(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.qkv, self.project = nn.Linear(channels, 24), nn.Linear(8, channels)
        self.token = nn.Parameter(torch.randn(1, 1, channels))
        self.fused = other % 2 == 0

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        q, k, v = self.qkv(tokens).view(x.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1) @ v
        out = self.project(mixed.transpose(1, 2).reshape(x.shape[0], -1, 8))
        return x + out[:, 1:].transpose(1, 2).reshape(x.shape)


class Normalize(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.layer, self.group = nn.LayerNorm(channels), nn.GroupNorm(2, channels)
        self.which = other % 3

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.which == 0:
            return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.group(x) if self.which == 1 else x / (x.norm(dim=1, keepdim=True) + 1e-3)


class Shared(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.gelu(self.conv(F.gelu(self.conv(x)))) + F.conv2d(x, self.conv.weight.transpose(0, 1))


class Move(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.which = other % 4
        self.register_buffer("order", torch.randperm(channels, generator=torch.Generator().manual_seed(other)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        if self.which == 0:
            return x.flip(1)
        if self.which == 1:
            return torch.roll(x, 3, dims=1)
        return x[:, self.order] if self.which == 2 else torch.cat([x[:, ::2], x[:, 1::2]], dim=1)


class PadChannels(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.out = channels + 4
        self.after = nn.Conv2d(self.out, self.out, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        wide = F.pad(x, (0, 0, 0, 0, 1, 3))
        return wide + self.after(wide)


class Rearrange(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.out = 8
        self.wide = nn.Conv2d(channels, 32, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.avg_pool2d(F.pixel_shuffle(self.wide(x), 2), 2)


class Multiply(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.wide = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.glu(self.wide(x), dim=1) * x.softmax(dim=1)


class Stacked(Step):
    def __init__(self, channels: int, other: int) -> None:
        super().__init__(channels, other)
        self.match = nn.Conv2d(other, channels, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        both = torch.stack([x, self.match(y)], dim=1)
        return both.amax(dim=1) + (both * both.mean((3, 4), keepdim=True).softmax(dim=1)).sum(dim=1)


STEPS: tuple[type[Step], ...] = (
    Convolution, Grouped, Residual, Concat, SwapHalves, Shuffle, Gate, Attend, Normalize, Shared, Move, PadChannels,
    Rearrange, Multiply, Stacked,
)  # fmt: skip


class RandomNet(nn.Module):
    """A stem, the steps, and a head that reads every tensor which no step has read."""

    def __init__(self, plan: tuple[tuple[type[Step], int, int], ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.steps = nn.ModuleList()
        self.sources: list[tuple[int, int]] = []
        widths = [8]
        for kind, first, second in plan:
            left, right = first % len(widths), second % len(widths)
            step = kind(widths[left], widths[right])
            self.steps.append(step)
            self.sources.append((left, right))
            widths.append(step.out)
        read = {source for pair in self.sources for source in pair}
        self.left = [index for index in range(len(widths)) if index not in read]
        self.head = nn.Linear(sum(widths[index] for index in self.left) * SIDE * SIDE, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = [self.stem(x)]
        for step, (left, right) in zip(self.steps, self.sources, strict=True):
            made.append(step(made[left], made[right]))
        return self.head(torch.cat([made[index].permute(0, 2, 3, 1).flatten(1) for index in self.left], dim=1))


def plans() -> st.SearchStrategy[tuple[tuple[type[Step], int, int], ...]]:
    step = st.tuples(st.sampled_from(STEPS), st.integers(0, 7), st.integers(0, 7))
    return st.lists(step, min_size=2, max_size=6).map(tuple)
