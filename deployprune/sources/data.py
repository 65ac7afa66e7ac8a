"""The door for data: one text names a folder, an ``.npz`` file or a callable, and training and validation come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.data.dataloader import default_collate

from deployprune.errors import UsageError
from deployprune.records import InputSpec
from deployprune.sources.arrays import load_arrays
from deployprune.sources.batches import ArrayDataset, CollatedDataset, Normalization, StreamDataset, split_batch, subset
from deployprune.sources.callables import resolve, running
from deployprune.sources.folders import list_images, load_images

__all__ = ["Data", "load_data"]

_VALIDATION_NAMES = ("val", "valid", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Training and validation examples: ``(x, y)`` or, where ``labelled`` is false, ``x``; ``classes`` where known."""

    train: Dataset[Any]
    val: Dataset[Any]
    labelled: bool
    classes: int | None
    workers: int = 0

    def loader(
        self,
        split: Literal["train", "val"],
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> DataLoader[Any]:
        """Batches of ``train`` or ``val``; the same seed gives the same order.

        A loader of the user's that can only be iterated keeps its own batches and order.
        """
        dataset = self.train if split == "train" else self.val
        if isinstance(dataset, IterableDataset):
            return DataLoader(dataset, batch_size=None)
        return DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            generator=torch.Generator().manual_seed(seed),
            drop_last=drop_last and len(dataset) >= batch_size,  # type: ignore[arg-type]  # map-style: has a length
            collate_fn=_keep,
            num_workers=self.workers,
        )


def load_data(
    spec: str,
    *,
    input_spec: InputSpec,
    seed: int = 0,
    validation_share: float = 0.1,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: bool = False,
    workers: int = 0,
) -> Data:
    """The data that ``spec`` names, in the form of the model's input.

    ``spec`` is a folder of class folders (perhaps below ``train`` and ``val``), a flat folder of images (no labels), an
    ``.npz`` file with ``x`` and ``y``, a folder with ``train.npz`` and ``val.npz``, or ``pkg.mod:callable`` that gives
    loaders or data sets. Without validation data of its own, a seeded share of every class is held out. ``mean`` and
    ``std`` (one value, or one a channel, for pixels in [0, 1]) normalise files; a callable's data is taken as it is.
    Raises UsageError where it cannot be found, read, or does not fit the input.
    """
    if not 0 < validation_share < 1:
        raise UsageError(f"validation share {validation_share} is not between 0 and 1")
    normalize = _normalization(mean, std, input_spec)
    path = Path(spec)
    if path.is_dir():
        train, val = _load_folder(path, input_spec, normalize, resize)
    elif path.suffix == ".npz" and path.is_file():
        train, val = load_arrays(path, input_spec, normalize=normalize, resize=resize), None
    elif ":" in spec and not path.exists():
        train, val = _call(spec)
    else:
        raise UsageError(
            f"{spec!r} names no data", hint="expected a folder of images, an .npz file, or pkg.mod:callable"
        )
    if isinstance(train, Data):
        return train
    if val is None:
        train, val = _hold_out(train, validation_share, seed, spec)
    return _describe(train, val, workers, spec)


def _normalization(mean: Sequence[float] | None, std: Sequence[float] | None, spec: InputSpec) -> Normalization | None:
    if mean is None and std is None:
        return None
    chosen = Normalization(tuple(mean or (0.0,)), tuple(std or (1.0,)))
    lengths = {1, spec.shape[1] if len(spec.shape) > 1 else 1}
    if not {len(chosen.mean), len(chosen.std)} <= lengths or not all(chosen.std):
        raise UsageError(
            f"mean {list(chosen.mean)} and std {list(chosen.std)} do not fit the input",
            hint="give one value, or one for each channel, and no std of 0",
        )
    return chosen


def _load_folder(folder: Path, spec: InputSpec, normalize: Normalization | None, resize: bool) -> tuple[Any, Any]:
    if (folder / "train.npz").is_file():
        held_out = next((folder / f"{n}.npz" for n in _VALIDATION_NAMES if (folder / f"{n}.npz").is_file()), None)
        train, val = (
            None if file is None else load_arrays(file, spec, normalize=normalize, resize=resize)
            for file in (folder / "train.npz", held_out)
        )
        return train, val
    if not (folder / "train").is_dir():
        return load_images(list_images(folder), spec, normalize), None
    images = list_images(folder / "train")
    held_out = next((folder / name for name in _VALIDATION_NAMES if (folder / name).is_dir()), None)
    others = None if held_out is None else list_images(held_out, images.classes)
    return load_images(images, spec, normalize), None if others is None else load_images(others, spec, normalize)


def _call(spec: str) -> tuple[Any, Any]:
    maker = resolve(spec)
    with running(f"{spec} failed"):
        given = maker()
    if isinstance(given, Data):
        return given, None
    if isinstance(given, Mapping):
        pair = (given.get("train"), given.get("val"))
    elif isinstance(given, tuple | list) and len(given) == 2:
        pair = (given[0], given[1])
    else:
        pair = (getattr(given, "train", given), getattr(given, "val", None))
    return _take_in(pair[0], spec), None if pair[1] is None else _take_in(pair[1], spec)


def _take_in(given: Any, spec: str) -> Any:
    """A user's loader or data set as one of ours; a loader over a data set is rebuilt, so that its order is seeded."""
    if isinstance(given, DataLoader) and not isinstance(given.dataset, IterableDataset):
        return CollatedDataset(given.dataset, given.collate_fn, spec)
    if isinstance(given, ArrayDataset):
        return given
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return CollatedDataset(given, default_collate, spec)
    if hasattr(given, "__iter__") and hasattr(given, "__len__"):
        return StreamDataset(given, spec)
    raise UsageError(
        f"{spec} gave {type(given).__name__} where data with a length is needed",
        hint="return (train, val), each a DataLoader or a map-style Dataset",
    )


def _hold_out(dataset: Any, share: float, seed: int, spec: str) -> tuple[Any, Any]:
    """Split off every k-th example of a seeded order that is sorted by class: each class gives the same share."""
    if isinstance(dataset, IterableDataset):
        raise UsageError(f"{spec} gave no validation data", hint="return (train, val)")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    labels = getattr(dataset, "y", None)
    if isinstance(labels, Tensor):
        order = order[labels[order].argsort(stable=True)]
    count = max(1, round(len(dataset) * share))
    if count >= len(dataset):
        raise UsageError(f"{spec} has {len(dataset)} examples, too few to hold some out")
    held_out = torch.zeros(len(dataset), dtype=torch.bool)
    held_out[order[(torch.arange(count) * len(dataset)) // count]] = True
    return subset(dataset, (~held_out).nonzero()[:, 0].tolist()), subset(dataset, held_out.nonzero()[:, 0].tolist())


def _describe(train: Any, val: Any, workers: int, spec: str) -> Data:
    if len(train) == 0 or len(val) == 0:
        raise UsageError(f"{spec} has no {'training' if len(train) == 0 else 'validation'} examples")
    known = [dataset.y for dataset in (train, val) if isinstance(getattr(dataset, "y", None), Tensor)]
    if known:
        labelled = len(known) == 2
    else:
        data = Data(train=train, val=val, labelled=False, classes=None)
        labelled = all(split_batch(next(iter(data.loader(split, 2))))[1] is not None for split in ("train", "val"))
    classes = max(int(y.max()) for y in known) + 1 if known else None
    return Data(train=train, val=val, labelled=labelled, classes=classes, workers=workers)


def _keep(batch: Any) -> Any:
    """Batches come whole from the data set."""
    return batch
