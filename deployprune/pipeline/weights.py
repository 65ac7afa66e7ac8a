"""Weights in safetensors, with the names that share one tensor in its metadata; nothing is ever pickled."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from deployprune.errors import RunDirectoryError
from deployprune.files import sha256_file, write_atomic

__all__ = ["count_parameters", "read_weights", "write_weights"]


def count_parameters(module: nn.Module) -> int:
    """How many numbers the parameters of ``module`` are; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def write_weights(module: nn.Module, path: Path) -> str:
    """Write all parameters and buffers of ``module`` and give the file's SHA-256."""
    tensors: dict[str, torch.Tensor] = {}
    owners: dict[tuple[int, tuple[int, ...]], str] = {}
    aliases: dict[str, str] = {}
    for name, tensor in module.state_dict().items():
        owner = owners.setdefault((tensor.data_ptr(), tuple(tensor.shape)), name) if tensor.numel() else name
        if owner == name:
            tensors[name] = tensor.detach().contiguous()
        else:
            aliases[name] = owner
    write_atomic(path, save(tensors, metadata={"aliases": json.dumps(aliases, sort_keys=True)}))
    return sha256_file(path)


def read_weights(module: nn.Module, path: Path) -> None:
    """Fill ``module`` from a file of :func:`write_weights`. Raises RunDirectoryError where they do not fit."""
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            aliases = json.loads((file.metadata() or {}).get("aliases", "{}"))
        state.update({name: state[owner] for name, owner in aliases.items()})
        module.load_state_dict(state)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise RunDirectoryError(
            f"{path} does not hold this model's weights: {str(error).splitlines()[0]}",
            hint="delete it and the record of the step that wrote it, then resume the run",
        ) from error
