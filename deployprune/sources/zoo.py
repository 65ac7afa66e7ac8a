"""Models of installed packages by explicit prefix: ``torchvision:NAME``, ``timm:NAME``, ``transformers:CONFIG``.

Nothing is ever downloaded: torchvision and timm models come without weights (pass a state dict with
``--arch torchvision:NAME`` to fill one), transformers models with the weights that lie beside their configuration.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deployprune.errors import UsageError

__all__ = ["build_from_zoo", "is_zoo_name"]

_PACKAGES = ("torchvision", "timm", "transformers")
_WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def is_zoo_name(name: str) -> bool:
    """Whether ``name`` starts with a zoo's prefix."""
    return name.partition(":")[0] in _PACKAGES and ":" in name


def build_from_zoo(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The model that ``torchvision:NAME``, ``timm:NAME``, ``transformers:DIR`` or ``transformers:CLASS:DIR`` names.

    ``arguments`` go to the model's factory (for transformers: they replace values of the configuration).
    Raises UsageError where the package is not installed, knows no such model, or refuses the arguments.
    """
    package, _, model = name.partition(":")
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{name!r} needs {package}, which is not installed", hint=f"pip install {package}")
    if package == "transformers":
        return _build_transformer(model, arguments)
    with _quiet():
        build = _torchvision_builder(model) if package == "torchvision" else _timm_builder(model)
        try:
            module = build(**arguments)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name!r} cannot be built with {arguments}: {error}") from error
    return _require_module(module, name)


def _torchvision_builder(model: str) -> Any:
    models = importlib.import_module("torchvision.models")
    if model not in models.list_models():
        raise UsageError(f"torchvision has no model {model!r}", hint=_offer(models.list_models(), model))
    return lambda **arguments: models.get_model(model, **{"weights": None, "weights_backbone": None, **arguments})


def _timm_builder(model: str) -> Any:
    timm = importlib.import_module("timm")
    if not timm.is_model(model):
        raise UsageError(f"timm has no model {model!r}", hint=_offer(timm.list_models(), model))
    return lambda **arguments: timm.create_model(model, pretrained=False, **arguments)


def _build_transformer(model: str, arguments: dict[str, Any]) -> nn.Module:
    """``DIR``, ``DIR/config.json`` or ``CLASS:DIR``: the class comes from the installed package, not the folder."""
    class_name, _, place = model.rpartition(":")
    folder = Path(place).parent if place.endswith(".json") else Path(place)
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"there is no {folder / 'config.json'}",
            hint="write transformers:DIR, a folder as save_pretrained writes it; nothing is downloaded",
        )
    with _quiet():
        transformers = importlib.import_module("transformers")
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            config.update(arguments)
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(f"cannot read {folder / 'config.json'}: {_first_line(error)}") from error
        kind = _transformer_class(transformers, class_name or next(iter(config.architectures or ()), ""), folder)
        with _no_progress_bar(transformers.utils.logging):
            return _fill_transformer(kind, config, folder)


def _transformer_class(transformers: Any, name: str, folder: Path) -> Any:
    found = getattr(transformers, name, None) if name else None
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise UsageError(
            f"transformers has no model class {name!r}" if name else f"{folder / 'config.json'} names no architecture",
            hint="write transformers:CLASS:DIR, such as transformers:ViTForImageClassification:DIR",
        )
    return found


def _fill_transformer(kind: Any, config: Any, folder: Path) -> nn.Module:
    if not any((folder / name).is_file() for name in _WEIGHT_FILES):
        return _require_module(kind(config), kind.__name__)
    try:
        module, info = kind.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"the weights in {folder} do not fit {kind.__name__}: {_first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise UsageError(
            f"the weights in {folder} lack {', '.join(missing[:4])} of {kind.__name__}",
            hint="name the class that was saved: transformers:CLASS:DIR",
        )
    return _require_module(module, kind.__name__)


def _require_module(value: Any, name: str) -> nn.Module:
    if not isinstance(value, nn.Module):
        raise UsageError(f"{name!r} gave {type(value).__name__}, not a torch.nn.Module")
    return value.float()


def _offer(names: list[str], wanted: str) -> str:
    near = [name for name in names if name.startswith(wanted[:5])][:6]
    return f"near it: {', '.join(near)}" if near else f"it has {len(names)} models"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the packages' own notes out of the user's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def _no_progress_bar(settings: Any) -> Iterator[None]:
    enabled = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            settings.enable_progress_bar()
