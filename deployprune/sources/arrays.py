"""``.npz`` files with ``x`` and ``y``: the fast way to bring data, since they are memory already."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deployprune.errors import UsageError
from deployprune.records import InputSpec
from deployprune.sources.batches import ArrayDataset, Normalization
from deployprune.sources.inputs import torch_dtype

__all__ = ["load_arrays"]


def load_arrays(
    path: Path, spec: InputSpec, *, normalize: Normalization | None = None, resize: bool = False
) -> ArrayDataset:
    """``x`` (N, ...) and, where there is one, ``y`` (N,) of an ``.npz`` file, in the form of the model's input.

    Bytes stay bytes (scaled to [0, 1] a batch at a time); images without a channel dimension get one; channels-last
    images are turned. With ``resize`` images are scaled to the input's height and width (bilinear, antialiased).
    Raises UsageError for a damaged file, other names, object arrays, and shapes that do not fit the input.
    """
    arrays = _read(path)
    if "x" not in arrays:
        raise UsageError(
            f"{path} has no array x, only {', '.join(arrays) or 'nothing'}",
            hint="save it with numpy.savez(path, x=images, y=labels)",
        )
    x = _fit(torch.from_numpy(arrays["x"]), spec, path, resize)
    return ArrayDataset(x, _labels(arrays["y"], len(x), path) if "y" in arrays else None, normalize)


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.ascontiguousarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UsageError(
            f"{path} is not an .npz file of plain arrays: {error}", hint="save it with numpy.savez(path, x=..., y=...)"
        ) from error


def _fit(x: Tensor, spec: InputSpec, path: Path, resize: bool) -> Tensor:
    wanted = spec.shape[1:]
    if len(wanted) == 3:
        x = _channels_first(x, wanted[0])
        if resize and x.dim() == 4 and x.shape[2:] != wanted[1:]:
            x = _resize(x, (wanted[1], wanted[2]))
    if tuple(x.shape[1:]) != wanted:
        raise UsageError(
            f"the examples of {path} are {_shape(x.shape[1:])}, the model takes {_shape(wanted)}",
            hint="bring the arrays into that shape, ask for a resize, or correct --input",
        )
    keep_bytes = x.dtype == torch.uint8 and torch_dtype(spec.dtype).is_floating_point
    return x.contiguous() if keep_bytes else x.to(torch_dtype(spec.dtype)).contiguous()


def _channels_first(x: Tensor, channels: int) -> Tensor:
    if x.dim() == 3 and channels == 1:
        return x.unsqueeze(1)
    if x.dim() == 4 and x.shape[1] != channels and x.shape[3] == channels:
        return x.permute(0, 3, 1, 2)
    return x


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    parts = [F.interpolate(part.float(), size, mode="bilinear", antialias=True) for part in torch.split(x, 1024)]
    scaled = torch.cat(parts)
    return scaled.round().clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else scaled


def _labels(y: NDArray[np.generic], count: int, path: Path) -> Tensor:
    if y.shape != (count,) or not np.issubdtype(y.dtype, np.integer):
        raise UsageError(
            f"y of {path} is {_shape(y.shape)} {y.dtype}, expected {count} class numbers",
            hint="one integer from 0 for every example; leave y out to distil without labels",
        )
    labels = torch.from_numpy(y.astype(np.int64))
    if count and int(labels.min()) < 0:
        raise UsageError(f"y of {path} has negative class numbers", hint="classes count from 0")
    return labels


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
