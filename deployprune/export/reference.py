"""The eager model as the reference that files are made from and compared with."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from deployprune.graph.copying import copy_module

__all__ = ["evaluation_copy", "named_outputs"]


def evaluation_copy(module: nn.Module) -> nn.Module:
    """A copy of ``module`` in evaluation mode and without gradients; the caller's module stays as it is.

    With gradients attention runs in other kernels, whose layout the exporter's decompositions do not keep. A program
    out of ``torch.export`` has its modes baked in and refuses ``eval()``: it is taken as it was captured.
    """
    duplicate = copy_module(module).requires_grad_(requires_grad=False)
    try:
        return duplicate.eval()
    except NotImplementedError:
        return duplicate


def named_outputs(output: object, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a forward's result in order, named by dictionary keys, else ``output`` or ``output_0, ...``.

    Entries that are no tensor (None, numbers) are left out, as in an exported file.
    """
    if isinstance(output, Tensor):
        return {prefix or "output": output}
    if isinstance(output, Mapping):
        items = [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in output.items()]
    elif isinstance(output, list | tuple):
        items = [(f"{prefix or 'output'}_{index}", value) for index, value in enumerate(output)]
    else:
        return {}
    return {name: tensor for key, value in items for name, tensor in named_outputs(value, key).items()}
