"""The demonstration: handwritten digits from inside scikit-learn, and a small network trained on them."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deployprune.config import Config, load_config
from deployprune.errors import UsageError
from deployprune.progress import Observer, Task
from deployprune.records import InputSpec
from deployprune.sources.data import load_data
from deployprune.training.recovery import finetune
from deployprune.training.settings import ProgressEvent, RecoverySettings

__all__ = ["run_demo"]

_SIDE = 16  # pixels: the 8 x 8 digits are doubled, so that every layer has enough to do for a runtime to be timed
_WIDTHS = (32, 64, 64, 96, 96)
_HELD_OUT = 0.3
_EPOCHS = 12
_BATCH = 64


def run_demo(directory: Path, *, observer: Observer) -> Config:
    """Write the digits and a trained ``model.pt`` into ``directory`` and give the configuration to compress it.

    Raises UsageError with the command that installs scikit-learn where it is missing.
    """
    data, model = directory / "digits", directory / "model.pt"
    _write_digits(data)
    with observer.step("Training a small network on scikit-learn's digits") as task:
        _save_whole(_train(data, task), model)
    settings = {
        "model.source": str(model),
        "model.inputs": [f"1x1x{_SIDE}x{_SIDE}"],
        "target.speedup": "2x",
        "data.source": str(data),
        "recovery.epochs": _EPOCHS // 2,
        "recovery.batch_size": _BATCH,
        "output": str(directory / "runs"),
    }
    return load_config(None, settings, {})


def _write_digits(folder: Path) -> None:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "the demo's data come with scikit-learn, which is not installed", hint="pip install 'deployprune[demo]'"
        ) from error
    digits = load_digits()
    scaled = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    x = scaled.repeat(_SIDE // 8, axis=1).repeat(_SIDE // 8, axis=2)
    order = np.random.default_rng(0).permutation(len(x))
    held_out, rest = np.split(order, [round(_HELD_OUT * len(x))])
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", rest), ("val", held_out)):
        np.savez(folder / f"{name}.npz", x=x[rows], y=digits.target[rows].astype(np.int64))


def _network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for index, (inner, outer) in enumerate(itertools.pairwise((1, *_WIDTHS))):
        layers += [
            nn.Conv2d(inner, outer, 3, stride=2 if index == 2 else 1, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_WIDTHS[-1], 10))


def _train(folder: Path, task: Task) -> nn.Module:
    def show(event: ProgressEvent) -> None:
        task.update(event.step / event.steps, note=f"epoch {event.epoch} of {event.epochs}, loss {event.loss:.3f}")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = _network()
    data = load_data(str(folder), input_spec=InputSpec(name="input", shape=(1, 1, _SIDE, _SIDE)))
    settings = RecoverySettings(epochs=_EPOCHS, batch_size=_BATCH, learning_rate=0.05, precision="fp32")
    record = finetune(module, None, data, settings, progress=show)
    task.finish(f"{record.epochs} epochs, {record.images_per_second:.0f} images/s")
    return module


def _save_whole(module: nn.Module, path: Path) -> None:
    """Write the module as users do, whole, and under its name only once it is complete."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        torch.save(module, file)
    Path(file.name).replace(path)
