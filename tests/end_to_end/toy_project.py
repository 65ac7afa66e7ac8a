"""A folder such as a user has: a small trained network in ``model.pt``, and labelled images in ``data.npz``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

SIDE = 16
INPUT = f"1x1x{SIDE}x{SIDE}"
FAST = ["--backend", "fake", "--variants", "6", "--table-rounds", "3"]
TRAINED = ["--data", "data.npz", "--validation-share", "0.3", "--batch-size", "16", "--training-precision", "fp32"]
TRAINED += ["--learning-rate", "0.1", "--distill-weight", "0.2"]
"""Options for a run of seconds, in which nothing depends on the machine."""
COMPRESS = ["compress", "model.pt", "--input", INPUT, "--speedup", "1.45x", "--epochs", "2", *FAST, *TRAINED]


def network(channels: int = 32) -> nn.Sequential:
    """Two convolutions with batch normalisation, pooled to four class scores."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * channels, 4),
    )


def bright_quarters(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images (N, 1, 16, 16) and which quarter of each is bright."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, count)
    x = generator.random((count, 1, SIDE, SIDE)).astype(np.float32)
    half = SIDE // 2
    for image, (row, column) in zip(x, (divmod(int(label), 2) for label in y), strict=True):
        image[0, half * row : half * (row + 1), half * column : half * (column + 1)] += 0.08
    return x, y


def make_project(folder: Path) -> Path:
    """Write ``model.pt``, ``weights.pt`` (its state dict), ``nets.py`` (which builds it) and ``data.npz``."""
    x, y = bright_quarters(256)
    np.savez(folder / "data.npz", x=x, y=y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = network()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for start in list(range(0, 256, 64)) * 2:
        optimizer.zero_grad()
        F.cross_entropy(
            module(torch.from_numpy(x[start : start + 64])), torch.from_numpy(y[start : start + 64])
        ).backward()
        optimizer.step()
    torch.save(module.eval(), folder / "model.pt")
    torch.save(module.state_dict(), folder / "weights.pt")
    (folder / "nets.py").write_text("from toy_project import network\n")
    return folder


def shipped(run: Path) -> dict[str, str]:
    """The hashes of the files that a run is made for."""
    names = ("export/model.onnx", "weights/recovered.safetensors", "unstructured/unstructured.onnx")
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}


def only_run(folder: Path) -> Path:
    """The one run directory in ``folder/runs``."""
    (run,) = (folder / "runs").iterdir()
    return run
