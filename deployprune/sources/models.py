"""The door for models: one text names a file or a zoo's model, and a module and how to get it again come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from deployprune.errors import UnsupportedModelError, UsageError
from deployprune.files import sha256_file
from deployprune.records import ModelRef
from deployprune.sources.callables import resolve, running
from deployprune.sources.checkpoint import read_checkpoint
from deployprune.sources.exported import read_exported
from deployprune.sources.formats import Format, sniff
from deployprune.sources.weights import find_state_dict, load_weights, read_safetensors
from deployprune.sources.zoo import build_from_zoo, is_zoo_name

__all__ = ["load_model"]

_INIT_SEED = 0


def load_model(
    source: str | Path,
    *,
    arch: str | None = None,
    arch_kwargs: dict[str, Any] | None = None,
    trust_pickle: bool = False,
) -> tuple[nn.Module, ModelRef]:
    """Load a model in evaluation mode on the CPU, and say how to load it again.

    ``source`` is a file (whole module of stock classes, state dict, safetensors, ``.pt2``) or a zoo's model
    (``torchvision:NAME``, ``timm:NAME``, ``transformers:CONFIG``). ``arch`` names what builds the module that a state
    dict fills: ``pkg.mod:factory``, ``file.py:factory`` or a zoo's model; ``arch_kwargs`` are its keyword arguments.
    No code of the file is run unless ``trust_pickle`` says so.

    Raises UsageError (no such file, not a model, weights that do not fit), UnsafeModelError (a file that would run
    code) or UnsupportedModelError (TorchScript, ONNX and OpenVINO files, which hold no PyTorch module).
    """
    arguments = dict(arch_kwargs or {})
    if isinstance(source, str) and is_zoo_name(source):
        module = _build(source, arguments)
        return module, ModelRef(kind="zoo", source=source, arch_kwargs=arguments)
    path = Path(source)
    found = sniff(path)
    _refuse_runtime_file(path, found)
    module, kind = _read(path, found, arch, arguments, trust_pickle)
    reference = ModelRef(
        kind=kind,
        source=str(source),
        sha256=sha256_file(path),
        arch=arch,
        arch_kwargs=arguments,
        trusted_pickle=trust_pickle,
    )
    return module.eval(), reference


def _read(
    path: Path, found: Format, arch: str | None, arguments: dict[str, Any], trust_pickle: bool
) -> tuple[nn.Module, str]:
    if found is Format.EXPORTED:
        return read_exported(path, trust_pickle=trust_pickle), "exported"
    if found is Format.SAFETENSORS:
        return _fill(path, arch, arguments, read_safetensors(path)), "safetensors"
    checkpoint = read_checkpoint(path, trust_pickle=trust_pickle)
    if isinstance(checkpoint, torch.jit.ScriptModule):
        raise _refuse_torchscript(path)
    if isinstance(checkpoint, nn.Module):
        return checkpoint, "module"
    return _fill(path, arch, arguments, find_state_dict(checkpoint, path)), "state_dict"


def _fill(path: Path, arch: str | None, arguments: dict[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    if arch is None:
        raise UsageError(
            f"{path} holds weights only ({len(state)} tensors), not the model that they belong to",
            hint="pass --arch with what builds the model: pkg.mod:factory, file.py:factory or torchvision:NAME",
        )
    module = _build(arch, arguments)
    load_weights(module, state, path)
    return module


def _build(arch: str, arguments: dict[str, Any]) -> nn.Module:
    """Build with a fixed seed, so that a model without weights is the same one each time it is loaded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_INIT_SEED)
        if is_zoo_name(arch):
            return build_from_zoo(arch, arguments).eval()
        factory = resolve(arch)
        with running(f"{arch} failed with {arguments}"):
            module = factory(**arguments)
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"{arch} gave {type(module).__name__}, not a torch.nn.Module", hint="name a class or a factory"
        )
    return module.eval()


def _refuse_runtime_file(path: Path, found: Format) -> None:
    if found is Format.TORCHSCRIPT:
        raise _refuse_torchscript(path)
    if found in (Format.ONNX, Format.OPENVINO):
        raise UnsupportedModelError(
            f"{path} is an {found.value}: a compiled graph that cannot be trained or pruned",
            hint="pass the PyTorch model that it was exported from",
        )


def _refuse_torchscript(path: Path) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path} is a TorchScript archive: it holds no Python module that could be pruned",
        hint="pass the model's state dict with --arch pkg.mod:factory, or export it with torch.export.save to .pt2",
    )
