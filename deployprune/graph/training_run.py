"""A forward as it trains, on the example inputs: the module may change, the program's random numbers do not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from deployprune.graph.capture import Captured, twice

__all__ = ["apart", "doubled", "trains"]


def trains(module: nn.Module, captured: Captured) -> bool:
    """Whether a forward in the mode of training runs; ``module`` stays in it, and its statistics have moved."""
    if isinstance(module, fx.GraphModule):
        return True
    try:
        with apart():
            module.train()(*doubled(captured))
    except Exception:  # the user's forward: it may need targets to train, or have sizes that do not fit
        return False
    return True


def doubled(captured: Captured) -> tuple[Any, ...]:
    """The example inputs, with every example twice where the batch size is free: batch norm cannot train on one."""
    return twice(captured.inputs) if captured.dynamic_batch else captured.inputs


@contextmanager
def apart() -> Iterator[None]:
    """Random numbers drawn inside are the same every time, and leave those of the program as they would have been."""
    kept, drawn = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(0)
        np.random.seed(0)
        torch.default_generator.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(kept)
            np.random.set_state(drawn)
