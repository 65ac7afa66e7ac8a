"""A network whose inputs and outputs can be mistaken for one another: names out of order, more than ten outputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NamedNet(nn.Module):
    """Three inputs (indices, an image, a vector); a dictionary of a tensor, a tuple of twelve and a None."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 12)
        self.mix = nn.Linear(12, 12)
        self.filter = nn.Conv2d(3, 12, 3)

    def forward(self, zeta: Tensor, image: Tensor, alpha: Tensor) -> dict[str, object]:
        seen = self.filter(image).mean((2, 3))
        mixed = self.mix(self.words(zeta).mean(1) + seen)
        parts = tuple(mixed[:, index : index + 1] * (index + 1) for index in range(11))
        return {"late": mixed, "early": (seen * alpha, *parts), "nothing": None}


def named_examples() -> tuple[Tensor, Tensor, Tensor]:
    """Example inputs at batch 2."""
    return torch.randint(0, 20, (2, 5)), torch.randn(2, 3, 8, 8), torch.randn(2, 12)
