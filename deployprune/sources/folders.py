"""Folders of images: a folder a class, or one flat folder without labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deployprune.errors import UsageError
from deployprune.records import InputSpec
from deployprune.sources.batches import ArrayDataset, Normalization, split_batch

__all__ = ["ImageFolder", "list_images", "load_images"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
_MODES = {1: "L", 3: "RGB"}
_MEMORY_LIMIT = 1 << 30  # decoded images below this many bytes are kept; every epoch would decode them again


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """The image files below a folder and their class numbers (None: a flat folder without labels)."""

    files: tuple[Path, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]


def list_images(folder: Path, classes: Sequence[str] | None = None) -> ImageFolder:
    """The images in a folder of class folders, or in a flat folder. ``classes`` fixes the numbers of the class names.

    Raises UsageError where there are no images, or a class that ``classes`` does not know.
    """
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and _images(child))
    if not names:
        flat = _images(folder)
        if not flat:
            raise UsageError(
                f"there are no images in {folder}",
                hint="expected FOLDER/CLASS/image.jpg (labels), or FOLDER/image.jpg (distillation only)",
            )
        return ImageFolder(tuple(flat), None, ())
    known = tuple(classes) if classes else tuple(names)
    strange = [name for name in names if name not in known]
    if strange:
        raise UsageError(f"{folder} has the class {strange[0]!r}, which the training images do not have")
    found = [(file, known.index(name)) for name in names for file in _images(folder / name)]
    return ImageFolder(tuple(file for file, _ in found), tuple(label for _, label in found), known)


def load_images(images: ImageFolder, spec: InputSpec, normalize: Normalization | None = None) -> Any:
    """The images in the size of the model's input (short side scaled, centre cut out), as bytes in memory if they fit.

    Raises UsageError where Pillow is missing, the input is no image of 1 or 3 channels, or a file cannot be read.
    """
    if len(spec.shape) != 4 or spec.shape[1] not in _MODES:
        shape = "x".join(map(str, spec.shape))
        raise UsageError(f"images cannot be given to an input of shape {shape}", hint="expected Nx3xHxW or Nx1xHxW")
    _require_pillow()
    dataset = _ImageDataset(images, spec.shape[1], (spec.shape[2], spec.shape[3]), normalize)
    if len(images.files) * spec.shape[1] * spec.shape[2] * spec.shape[3] > _MEMORY_LIMIT:
        return dataset
    with ThreadPoolExecutor() as pool:
        pixels = torch.stack(list(pool.map(dataset.pixels, range(len(dataset)))))
    return ArrayDataset(pixels, dataset.y, normalize)


class _ImageDataset(Dataset[Any]):
    """Images decoded when they are asked for."""

    def __init__(
        self, images: ImageFolder, channels: int, size: tuple[int, int], normalize: Normalization | None
    ) -> None:
        self.files = images.files
        self.y = None if images.labels is None else torch.tensor(images.labels)
        self.channels = channels
        self.size = size
        self.normalize = normalize

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> Tensor:
        """One image as bytes; shape (C, H, W)."""
        from PIL import Image  # an extra

        try:
            with Image.open(self.files[index]) as image:
                image.draft(_MODES[self.channels], (self.size[1], self.size[0]))
                array = np.array(_fit(image.convert(_MODES[self.channels]), self.size))
        except OSError as error:
            raise UsageError(
                f"cannot read the image {self.files[index]}: {error}", hint="remove or repair it"
            ) from error
        return torch.from_numpy(array).reshape(*self.size, self.channels).permute(2, 0, 1).contiguous()

    def __getitem__(self, index: int) -> Any:
        x, y = split_batch(self.__getitems__([index]))
        return x[0] if y is None else (x[0], int(y[0]))

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """The batch of these images."""
        pixels = torch.stack([self.pixels(index) for index in indices])
        labels = None if self.y is None else self.y[torch.as_tensor(indices)]
        return ArrayDataset(pixels, labels, self.normalize).__getitems__(range(len(pixels)))


def _fit(image: Any, size: tuple[int, int]) -> Any:
    """Scale the short side to the size and cut the centre out."""
    height, width = size
    scale = max(width / image.width, height / image.height)
    scaled = image.resize((max(width, round(image.width * scale)), max(height, round(image.height * scale))))
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401  # an extra
    except ImportError as error:
        raise UsageError(
            "image folders need Pillow, which is not installed", hint="pip install 'deployprune[images]'"
        ) from error
