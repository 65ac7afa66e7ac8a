"""Random crops and flips of whole batches of images at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augment"]


def augment(x: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Crop (zero padding of an eighth, then a cut at a random place) and flip (half of them, left to right) images.

    ``x`` is (N, C, H, W); ``kind`` is ``none``, ``flip``, ``crop`` or ``crop-flip``. All places are drawn from
    ``generator`` (a CPU one), and one gather makes the batch.
    """
    if kind == "none" or x.dim() != 4:
        return x
    count, channels, height, width = x.shape
    rows = torch.arange(height).repeat(count, 1)
    columns = torch.arange(width).repeat(count, 1)
    if "flip" in kind:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    if "crop" in kind:
        pad = max(1, min(height, width) // 8)
        x = F.pad(x, (pad, pad, pad, pad))
        rows = rows + torch.randint(0, 2 * pad + 1, (count, 1), generator=generator)
        columns = columns + torch.randint(0, 2 * pad + 1, (count, 1), generator=generator)
    examples = torch.arange(count).view(-1, 1, 1, 1)
    planes = torch.arange(channels).view(1, -1, 1, 1)
    return x[examples, planes, rows.view(count, 1, height, 1), columns.view(count, 1, 1, width)]
