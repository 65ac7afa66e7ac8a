"""What a model is called with: ``1x3x224x224``, ``ids:1x128:int64``, and example tensors of that form."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from deployprune.errors import UsageError
from deployprune.records import InputSpec

__all__ = ["example_inputs", "parse_input", "program_inputs", "torch_dtype"]

_FORM = re.compile(r"^(?:(?P<name>[A-Za-z_]\w*):)?(?P<shape>\d+(?:[x,]\d+)*)(?::(?P<dtype>\w+))?$")
_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "uint8": torch.uint8,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}


def parse_input(text: str) -> InputSpec:
    """``"1x3x224x224"``, ``"x:1x3x224x224"`` or ``"ids:1x128:int64"``; dimension 0 is the batch.

    Raises UsageError for another form, a dimension of 0, or a dtype that no runtime takes.
    """
    match = _FORM.match(text.strip())
    if not match:
        raise UsageError(f"input {text!r} is not a shape", hint="write 1x3x224x224, or name:1x128:int64")
    shape = tuple(int(part) for part in re.split("[x,]", match["shape"]))
    if 0 in shape:
        raise UsageError(
            f"input {text!r} has a dimension of 0", hint="write every dimension as 1 or more; the batch too"
        )
    dtype = match["dtype"] or "float32"
    torch_dtype(dtype)
    return InputSpec(name=match["name"] or "input", shape=shape, dtype=dtype)


def program_inputs(module: nn.Module) -> tuple[InputSpec, ...]:
    """The inputs that a program of ``torch.export`` was made with, 1 for a batch that it leaves open.

    Empty for any other module, and where an input is not a tensor or leaves another dimension open.
    """
    if not isinstance(module, fx.GraphModule):
        return ()
    named = {node.name: node.meta.get("val") for node in module.graph.nodes if node.op == "placeholder"}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor) and value.dim() > 0}
    if len(tensors) < len(named) or not all(isinstance(size, int) for x in tensors.values() for size in x.shape[1:]):
        return ()
    return tuple(
        InputSpec(
            name=name,
            shape=tuple(size if isinstance(size, int) else 1 for size in tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
        )
        for name, tensor in tensors.items()
    )


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of this name. Raises UsageError for one that inputs cannot have."""
    if name not in _DTYPES:
        raise UsageError(f"inputs cannot be of dtype {name!r}", hint=f"use one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def example_inputs(specs: Sequence[InputSpec], seed: int, batch: int | None = None) -> tuple[Tensor, ...]:
    """Seeded random inputs of these shapes, one tensor a spec; ``batch`` replaces dimension 0.

    Floating inputs are standard normal; integers are 0 or 1, which every vocabulary and mask has.
    """
    generator = torch.Generator().manual_seed(seed)
    return tuple(_example(spec, generator, batch) for spec in specs)


def _example(spec: InputSpec, generator: torch.Generator, batch: int | None) -> Tensor:
    shape = spec.shape if batch is None else (batch, *spec.shape[1:])
    dtype = torch_dtype(spec.dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)
