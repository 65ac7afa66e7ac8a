"""State dicts: finding them in a checkpoint, reading them from safetensors, and putting them into a module."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from deployprune.errors import UsageError

__all__ = ["find_state_dict", "load_weights", "read_safetensors"]

_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "net")
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile
_SHOWN = 4


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Raises UsageError for a damaged file."""
    try:
        return dict(load_file(path, device="cpu"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} is not a whole safetensors file: {error}", hint="copy or save it again") from error


def find_state_dict(checkpoint: Any, path: Path) -> dict[str, Tensor]:
    """The state dict that a checkpoint is, or holds under a usual key, without the prefixes of wrappers.

    Raises UsageError where it has none.
    """
    found = checkpoint
    if isinstance(found, Mapping):
        found = next((found[key] for key in _NESTED_KEYS if isinstance(found.get(key), Mapping)), found)
    tensors = found if isinstance(found, Mapping) else {}
    if not tensors or not all(isinstance(value, Tensor) for value in tensors.values()):
        held = f"a dictionary of {', '.join(map(str, list(tensors)[:_SHOWN]))}" if tensors else type(found).__name__
        raise UsageError(
            f"{path} holds no model: {held}",
            hint="write it with torch.save(model, path), or its weights with torch.save(model.state_dict(), path)",
        )
    state = dict(tensors)
    for prefix in _WRAPPER_PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def load_weights(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy a state dict into ``module``. Raises UsageError naming what is missing, unexpected or of another shape."""
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} ({_shape(state[name])} in the file, {_shape(tensor)} in the model)"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    problems = [
        f"{word}: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
        for word, names in (("missing", missing), ("unexpected", unexpected), ("other shape", reshaped))
        if names
    ]
    if problems:
        raise UsageError(
            f"{path} does not fit the model of --arch; {'; '.join(problems)}",
            hint="check the factory and its keyword arguments (number of classes, width)",
        )
    module.load_state_dict(state, strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
