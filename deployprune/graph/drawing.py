"""Random parameters and inputs on which models are compared: nothing is equal by being zero, or by being small."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from deployprune.graph.rules import operation_name
from deployprune.graph.surgery import slice_parameter

__all__ = ["State", "load_state", "random_inputs", "random_state", "tensors_of"]

State = dict[str, torch.Tensor]
_LEAST_SCALE = 0.5  # of a normalisation: with less, a few layers leave nothing of what they read


def random_inputs(examples: tuple[Any, ...], generator: torch.Generator, dtype: torch.dtype) -> tuple[Any, ...]:
    """Normal noise in place of real-valued inputs; whole numbers keep their values, which may be indices."""
    return tuple(
        torch.randn(x.shape, generator=generator, dtype=dtype)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for x in examples
    )


def random_state(module: fx.GraphModule, generator: torch.Generator) -> State:
    """Every real-valued parameter and buffer by name, as ``module`` has them from now on.

    Vectors, which may be all zeros or ones, are drawn anew, small weights and scales made larger, and rows turned round
    at random: a last layer that only gives what a ReLU removes is alive in the next draw. They replace what was there
    one after another: large models have no room for both.
    """
    variances, scales = _read_by_norms(module, "running_var"), _read_by_norms(module, "weight")
    saved = module.state_dict(keep_vars=True).keys()
    state: State = {}
    drawn: dict[int, torch.Tensor] = {}  # a tensor under two names is drawn once
    for name, tensor in tensors_of(module).items():
        if not tensor.is_floating_point():
            continue
        if id(tensor) in drawn:
            state[name] = drawn[id(tensor)]
            continue
        state[name] = tensor.detach()
        if name not in saved:  # constants of the forward's code: the user's own module has these numbers
            continue
        if tensor.ndim <= 1:
            noise = torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
            size = tensor.abs().mean() if tensor.numel() else tensor.new_zeros(())
            fresh = name in variances or (name in scales and bool(size < _LEAST_SCALE))
            state[name] = 0.5 + noise if fresh else tensor.detach() + size.clamp_min(0.1) * (noise - 0.5)
        elif isinstance(tensor, nn.Parameter):
            signs = torch.randint(2, (len(tensor),) + (1,) * (tensor.ndim - 1), generator=generator) * 2 - 1
            state[name] = _strengthened(tensor.detach(), generator) * signs
        state[name] = _signed_like(tensor.detach(), state[name])
        drawn[id(tensor)] = tensor.data = state[name]
    return state


def _signed_like(tensor: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """Numbers that are all of one sign stay so: a forward may take their root or their logarithm."""
    if bool((tensor > 0).all()):
        return drawn.abs()
    return -drawn.abs() if bool((tensor < 0).all()) else drawn


def _read_by_norms(module: fx.GraphModule, argument: str) -> set[str]:
    """The tensors that normalisations take as this argument of their schema."""
    names = set()
    for node in module.graph.nodes:
        if (
            node.op == "call_function"
            and hasattr(node.target, "_schema")
            and operation_name(node.target).endswith("_norm")
        ):
            for value, formal in zip(node.args, node.target._schema.arguments, strict=False):
                if formal.name == argument and isinstance(value, fx.Node):
                    names.add(str(value.target))
    return names


def _strengthened(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A weight that passes on what it reads undiminished: a smaller one, as before training, would hide mistakes."""
    least = 1 / math.sqrt(max(1, weight[0].numel()))
    if bool((weight == weight.flatten()[:1].sum()).all()):
        return weight + least * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return weight * (least / weight.square().mean().sqrt()).clamp_min(1)


def tensors_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by all of their names."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def load_state(module: nn.Module, state: State, kept: Mapping[str, Mapping[int, Sequence[int]]]) -> None:
    """Set the parameters and buffers that ``state`` has, each at its kept indices."""
    for name, tensor in tensors_of(module).items():
        if name in state:
            dims = kept.get(name, {})
            tensor.data = slice_parameter(state[name], dims) if dims else state[name]
