"""How important every unit of the configured model is, with what its data has to say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from deployprune.pipeline.workbench import Workbench
from deployprune.pruning.criteria import Evidence
from deployprune.pruning.importance import score
from deployprune.pruning.sensitivity import SHARES, Damage
from deployprune.sources.batches import split_batch
from deployprune.sources.data import Data
from deployprune.training.calls import call
from deployprune.training.gradients import loss_gradients
from deployprune.training.losses import distillation_loss

__all__ = ["score_units"]

_GRADIENT_BATCHES = 16
_FORWARDS = 6144  # examples through the model, for all curves: about what the gradients cost as well
_EXAMPLES = (16, 512)  # a point of a curve: at least, at most
_BATCH = 128


def score_units(bench: Workbench) -> dict[str, NDArray[np.float64]]:
    """The importance of every unit: by the configured criterion, or Taylor with data and L2 without."""
    data, name = bench.data, bench.config.pruning.criterion
    if name == "auto":
        name = "l2" if data is None else "taylor"
    return score(name, bench.module, bench.groups, Evidence() if data is None else _evidence(bench, data))


def _evidence(bench: Workbench, data: Data) -> Evidence:
    size, seed = bench.config.recovery.batch_size, bench.config.seed
    gradients = partial(loss_gradients, bench.module, data, batches=_GRADIENT_BATCHES, batch_size=size, seed=seed)
    return Evidence(gradients=gradients, damage=_damage_meter(bench, data))


def _damage_meter(bench: Workbench, data: Data) -> Damage:
    """The distance of a pruned graph's outputs to the dense model's, KL divergence in nats for classes.

    The examples are the same every time, and so few that all curves together cost no more than ``_FORWARDS``.
    """
    points = max(1, len(SHARES) * len(bench.groups))
    count = min(max(_FORWARDS // points, _EXAMPLES[0]), _EXAMPLES[1])
    taught: list[tuple[torch.Tensor, torch.Tensor]] = []

    def measure(group: str, kept: Sequence[int]) -> float:
        with torch.no_grad():
            if not taught:
                taught.extend(_dense_outputs(bench, data, count))
            pruned = bench.analysis.prune_shapes({group: kept})
            total = sum(float(distillation_loss(call(pruned, x), y, 1.0)) * len(y) for x, y in taught)
        return total / sum(len(y) for _, y in taught)

    return measure


def _dense_outputs(bench: Workbench, data: Data, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    number = -(-count // _BATCH)
    batches = data.loader("train", -(-count // number), shuffle=True, seed=bench.config.seed)
    dense = bench.analysis.prune_shapes({})
    inputs = (split_batch(batch)[0] for batch in islice(batches, number))
    return [(x, call(dense, x)) for x in inputs]
