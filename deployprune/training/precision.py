"""Which arithmetic training runs in here: a short timing decides, since CPUs differ by a factor in both directions."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from deployprune.training.calls import call

__all__ = ["autocast", "choose_precision", "set_layout"]

_STEPS = 3
_NEEDED_GAIN = 1.1


def choose_precision(module: nn.Module, example: Any) -> str:
    """``bf16`` (autocast, channels-last) where a training step on ``example`` is 10 % faster than in ``fp32``.

    ``example`` is a batch of inputs. The module is left as it is; ``fp32`` where bf16 is slower, fails or overflows.
    The answer depends on the machine's speed: record it and pass it on to get the same weights again.
    """
    try:
        with torch.random.fork_rng():
            plain, fast = (_prepare_step(module, example, precision) for precision in ("fp32", "bf16"))
            plain()
            if not fast():
                return "fp32"
            times = [(_time(plain), _time(fast)) for _ in range(_STEPS)]
    except RuntimeError:  # an operator without a bf16 kernel
        return "fp32"
    gain = statistics.median(slow for slow, _ in times) / statistics.median(quick for _, quick in times)
    return "bf16" if gain >= _NEEDED_GAIN else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context that forward passes run in."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def set_layout(value: Any, precision: str) -> Any:
    """Images (4-d tensors) or a module in the memory layout that goes with this precision."""
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    if isinstance(value, nn.Module):
        return value.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub lacks this form
    if isinstance(value, torch.Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=layout)
    return value


def _prepare_step(module: nn.Module, example: Any, precision: str) -> Callable[[], bool]:
    """One forward and backward pass on a copy of the module; it tells whether the loss was finite."""
    replica = set_layout(copy.deepcopy(module).train(), precision)
    inputs = set_layout(example, precision)
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))

    def step() -> bool:
        replica.zero_grad(set_to_none=True)
        with autocast(precision, device):
            loss = call(replica, inputs).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return bool(torch.isfinite(loss))

    return step


def _time(step: Callable[[], bool]) -> float:
    """Seconds of one step (it ends by reading the loss, so that a GPU has finished the forward pass)."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
