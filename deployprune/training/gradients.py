"""Gradients of the loss on a few batches: what first-order importance is computed from."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.training.calls import call
from deployprune.training.losses import label_loss

__all__ = ["loss_gradients"]


def loss_gradients(module: nn.Module, data: Data, *, batches: int, batch_size: int, seed: int) -> Iterator[None]:
    """Run backward on ``batches`` training batches, one each time the iterator is advanced.

    The module is in evaluation mode meanwhile. Without labels the classes are drawn from the model's own prediction
    (the gradients are those of the true Fisher information), since a model's loss against itself has no gradient.
    """
    generator = torch.Generator().manual_seed(seed)
    was_training = module.training
    module.eval()
    try:
        for index, batch in enumerate(data.loader("train", batch_size, shuffle=True, seed=seed)):
            if index == batches:
                break
            inputs, labels = split_batch(batch)
            module.zero_grad(set_to_none=True)
            _loss(call(module, inputs), labels, generator).backward()  # type: ignore[no-untyped-call]
            yield
    finally:
        module.zero_grad(set_to_none=True)
        module.train(was_training)


def _loss(logits: Tensor, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    if labels is not None:
        return label_loss(logits, labels)
    if logits.dim() == 2 and logits.shape[1] > 1:
        drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
        return F.cross_entropy(logits, drawn)
    noise = torch.randn(logits.shape, generator=generator) * logits.detach().std()
    return F.mse_loss(logits, logits.detach() + noise)
