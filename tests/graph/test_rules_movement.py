"""Operations that move elements, or resize maps: sizes, indices and amounts in their calls follow the widths."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rule_cases import Body, Case, Parts, check_case, parameter
from torch import Tensor, nn


def _windows(parts: Parts, x: Tensor) -> Tensor:
    """Windows of 2 x 2, shifted by one, and back."""
    batch, channels, side, _ = x.shape
    rolled = torch.roll(x, (-1, -1), (2, 3)).view(batch, channels, 2, 2, 2, 2)
    rows = parts["up"](rolled.permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, channels))
    back = rows.view(batch, 2, 2, 2, 2, -1).permute(0, 5, 1, 3, 2, 4).reshape(batch, -1, side, side)
    return torch.roll(back, (1, 1), (2, 3))


def _shuffle(parts: Parts, x: Tensor) -> Tensor:
    grouped = x.view(x.shape[0], 2, 4, 4, 4).transpose(1, 2).reshape(x.shape)
    left, right = grouped.chunk(2, 1)
    return torch.cat([parts["left"](left), right], 1)


def _unfolded(parts: Parts, x: Tensor) -> Tensor:
    return parts["conv"](F.unfold(x, 2, stride=2))


def _folded(parts: Parts, x: Tensor) -> Tensor:
    return F.fold(parts["conv"](F.unfold(x, 2, stride=2)), (4, 4), 2, stride=2)


def _sampled(parts: Parts, x: Tensor) -> Tensor:
    grid = F.affine_grid(torch.eye(2, 3).expand(x.shape[0], 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, 0.5 * grid, align_corners=False)


def _upper(parts: Parts, x: Tensor) -> Tensor:
    """Places in two dimensions at once, as relative position tables are read."""
    rows, columns = torch.triu_indices(4, 4)
    return x[:, :, rows, columns]


def _shifted(parts: Parts, x: Tensor) -> Tensor:
    """Some channels a step to the left, some to the right, as temporal shifts write them."""
    out = torch.zeros_like(x)
    out[:, :2, :, :-1] = x[:, :2, :, 1:]
    out[:, 2:4, :, 1:] = x[:, 2:4, :, :-1]
    out[:, 4:] = x[:, 4:]
    return out


def _laid_in(parts: Parts, x: Tensor) -> Tensor:
    """A narrow map in the middle of a wide one of zeros, and the last channel another again."""
    out = x.new_zeros(x.shape[0], 16, 4, 4)
    out[:, 3:11] = x
    out[:, -1:] = x[:, :1]
    return out


def _up() -> dict[str, nn.Module]:
    return {"up": nn.Linear(8, 12)}


def _wide() -> dict[str, nn.Module]:
    return {"wide": nn.Conv2d(8, 16, 1)}


INDEX = torch.tensor([3, 1, 1, 6, 0, 2])
MASK = torch.tensor([[True, False, False, True], [False] * 4, [True] * 4, [False, True, False, False]])


def _overwritten(*index: object) -> Body:
    """The parameter ``token`` in some places of a copy."""

    def body(parts: Parts, x: Tensor) -> Tensor:
        x = x.clone()
        x[index] = parts.token
        return x

    return body


CASES = {
    "permute": Case(lambda p, x: x.permute(0, 2, 3, 1).contiguous()),
    "flatten and unflatten": Case(lambda p, x: x.flatten(1).unflatten(1, (8, 16))),
    "view with -1": Case(lambda p, x: x.view(x.shape[0], -1, 2, 16)),
    "cat": Case(lambda p, x: torch.cat([x, p["wide"](x), x.flip(1)], 1), _wide),
    "stack": Case(lambda p, x: torch.stack([x, x.relu()], 2).flatten(1, 2)),
    "interleaved": Case(lambda p, x: torch.stack([x[:, ::2], -x[:, 1::2]], 2).flatten(1, 2)),
    "split": Case(lambda p, x: torch.cat(torch.split(p["wide"](x), [3, 5, 8], 1)[::-1], 1), _wide),
    "chunk": Case(lambda p, x: torch.mul(*p["wide"](x).chunk(2, 1)), _wide),
    "tensor_split": Case(lambda p, x: torch.cat(torch.tensor_split(x, 3, 1)[::-1], 1)),
    "unbind": Case(
        lambda p, x: torch.add(*p["wide"](x).unflatten(1, (2, 8)).unbind(1)), _wide
    ),
    "narrow": Case(lambda p, x: p["wide"](x).narrow(1, -14, 9), _wide),
    "select": Case(lambda p, x: x + x[:, :, :1, 2:3].sigmoid()),
    "slice with a step": Case(lambda p, x: torch.cat([x[:, 1::2], x[:, ::2]], 1)),
    "flip": Case(lambda p, x: x.flip(1, 3)),
    "roll": Case(lambda p, x: x.roll(3, 1)),
    "roll of two dimensions": Case(lambda p, x: x.roll((1, -2), (1, 2))),
    "roll of everything": Case(lambda p, x: x.roll(1), share=0.0),
    "roll of tokens and channels in one line": Case(lambda p, x: x.roll(3) + x.roll(-5), tokens=True),
    "roll of more than one round": Case(lambda p, x: x.roll(-11, -3)),
    "repeat": Case(lambda p, x: x.repeat(1, 2, 1, 1)),
    "tile": Case(lambda p, x: x.tile(1, 3, 1, 1)),
    "repeat_interleave": Case(lambda p, x: x.repeat_interleave(2, 1)),
    "expand": Case(lambda p, x: x + p.shift[:, None, None].expand(8, 4, 4), lambda: {"shift": parameter(8)}),
    "class token": Case(
        lambda p, x: torch.cat([p.token.expand(x.shape[0], -1, -1), x], 1), lambda: {"token": parameter(1, 1, 8)},
        tokens=True,
    ),
    "index": Case(lambda p, x: x[:, INDEX], share=0.6),
    "index_select": Case(lambda p, x: x.index_select(1, INDEX), share=0.6),
    "indices in two dimensions": Case(_upper),
    "index of all and of some": Case(lambda p, x: x[:, INDEX][:, :, torch.tensor([0, 2])], share=0.6),
    "written over tokens": Case(
        _overwritten(slice(None), torch.tensor([1, 4])), lambda: {"token": parameter(8)}, tokens=True
    ),
    "written over tokens, each with its own": Case(
        _overwritten(slice(None), torch.tensor([1, 4])), lambda: {"token": parameter(2, 8)}, tokens=True
    ),
    "written under a mask": Case(
        _overwritten(slice(None), slice(None), MASK), lambda: {"token": parameter(8, 1)}
    ),
    "written over a row": Case(_overwritten(slice(None), slice(None), 1), lambda: {"token": parameter(8, 1)}),
    "written over some rows": Case(
        _overwritten(slice(None), slice(None), slice(1, 3)), lambda: {"token": parameter(8, 2, 1)}
    ),
    "written over channels": Case(_overwritten(slice(None), INDEX[2:]), lambda: {"token": parameter(4, 1, 1)}, share=0),
    "written over a range of channels": Case(_shifted),
    "written into zeros": Case(_laid_in, share=0.85),
    "written under the tensor's own mask": Case(
        lambda p, x: x.index_put([x.relu() > 0], p.token), lambda: {"token": parameter(1)}, share=0
    ),
    "pad": Case(lambda p, x: F.pad(x, (1, 2, 0, 1))),
    "pad of channels": Case(lambda p, x: F.pad(x, (0, 0, 0, 0, 2, 3))),
    "reflecting pad": Case(lambda p, x: F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "replicating pad": Case(lambda p, x: F.pad(x, (1, 1, 1, 1), mode="replicate")),
    "circular pad": Case(lambda p, x: F.pad(x, (1, 1, 1, 1), mode="circular")),
    "pixel shuffle": Case(lambda p, x: F.pixel_shuffle(p["wide"](x), 2), _wide),
    "pixel unshuffle": Case(lambda p, x: F.pixel_unshuffle(x, 2)),
    "channel shuffle": Case(lambda p, x: F.channel_shuffle(x, 4)),
    "shuffle unit": Case(_shuffle, lambda: {"left": nn.Conv2d(4, 6, 1)}),
    "space to depth by hand": Case(
        lambda p, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]], 1)
    ),
    "unfold": Case(_unfolded, lambda: {"conv": nn.Conv1d(32, 12, 1)}),
    "fold": Case(_folded, lambda: {"conv": nn.Conv1d(32, 24, 1)}),
    "windows": Case(_windows, _up),
    "sliding windows": Case(lambda p, x: x.unfold(3, 2, 2).mean(-1)),
    "nearest": Case(lambda p, x: F.interpolate(x, scale_factor=2)),
    "bilinear": Case(lambda p, x: F.interpolate(x, size=(7, 5), mode="bilinear", align_corners=True)),
    "bicubic": Case(lambda p, x: F.interpolate(x, scale_factor=1.5, mode="bicubic")),
    "trilinear": Case(lambda p, x: F.interpolate(x[:, :, None], size=(1, 6, 6), mode="trilinear")),
    "antialiased": Case(lambda p, x: F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True)),
    "grid sample": Case(_sampled),
    "diagonal": Case(lambda p, x: x.diagonal(dim1=2, dim2=3), share=0.95),
    "triangle": Case(lambda p, x: x.tril()),
    "rot90": Case(lambda p, x: x.rot90(1, (2, 3))),
    "movedim": Case(lambda p, x: x.movedim(1, -1)),
    "meshed positions": Case(
        lambda p, x: x + torch.cat(
            [p.rows[:, :, None].expand(4, 4, 4), p.columns[:, None].expand(4, 4, 4)], 0
        ),
        lambda: {"rows": parameter(4, 4), "columns": parameter(4, 4)},
        share=0.8,
    ),
    "one hot": Case(lambda p, x: x + F.one_hot(torch.arange(4), 4).to(x.dtype)),
    "scattered": Case(
        lambda p, x: x.flatten(2).index_add(2, torch.tensor([0, 3]), x.flatten(2)[:, :, :2])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
