"""Which names in a pickle are stock ones: classes of torch.nn, torchvision and timm that only hold a model together.

A name is looked up, never trusted for what it says: it must lead to an ``nn.Module`` class that the named module itself
defines (not something that module happens to import), or stand in the short list below.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

__all__ = ["find_stock"]

_TORCH_MODULES = "torch.nn.modules."
_ZOO_MODULES = ("torchvision.models.", "torchvision.ops.", "timm.models.", "timm.layers.")
_ACTIVATIONS = frozenset(("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "glu", "silu", "mish")).union(
    ("sigmoid", "logsigmoid", "hardsigmoid", "tanh", "hardtanh", "hardswish", "softmax", "softplus", "softsign")
)
_ACTIVATION_HOMES = ("torch.nn.functional.", "torch._C._nn.", "torch.")


def find_stock(name: str) -> Any | None:
    """The object behind a stock name such as ``torch.nn.modules.conv.Conv2d``, or None where the name is not stock.

    torchvision and timm are imported only where pip installed them: a folder of that name beside the model is not them.
    """
    if name == "functools.partial":  # vision transformers keep their norm layer as one
        return functools.partial
    module_name, _, attribute = name.rpartition(".")
    if f"{module_name}." in _ACTIVATION_HOMES and attribute in _ACTIVATIONS:
        return getattr(sys.modules.get(module_name), attribute, None)
    module = _find_module(module_name)
    found = vars(module).get(attribute) if module else None
    if isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module_name:
        return found
    return None


def _find_module(name: str) -> ModuleType | None:
    if name.startswith(_TORCH_MODULES):
        return sys.modules.get(name)
    if name.startswith(_ZOO_MODULES) and _is_installed(name.partition(".")[0]):
        try:
            return importlib.import_module(name)
        except ImportError:
            return None
    return None


def _is_installed(package: str) -> bool:
    """Whether the package that Python would import is the one that pip installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    try:
        installed = importlib.metadata.distribution(package).locate_file(f"{package}/__init__.py")
    except importlib.metadata.PackageNotFoundError:
        return False
    return Path(str(installed)).resolve() == Path(spec.origin).resolve()
