"""Where an agent finds models: kept by their content, so that each travels once, or as they lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from deployprune.errors import DeviceError

__all__ = ["ModelStore", "Models", "ModelsInPlace"]

_LIMIT = 2 << 30  # bytes of models that stay on a device


class Models(Protocol):
    """Where an agent finds the files of a model."""

    def find(self, digest: str) -> Path | None:
        """The folder of the model, or None where it is not here yet."""
        ...

    def add(self, digest: str, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Keep the files of a model. Raises DeviceError where they cannot be kept."""
        ...


class ModelsInPlace:
    """Models of this machine, called by the folder that they are in."""

    def find(self, digest: str) -> Path | None:
        """The folder."""
        return Path(digest)

    def add(self, digest: str, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Nothing is sent here. Raises DeviceError."""
        raise DeviceError("models of this machine are not sent")


class ModelStore:
    """Models in ``folder``, each in one called after the hash of its files; the oldest go when there are too many."""

    def __init__(self, folder: Path, limit: int = _LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def find(self, digest: str) -> Path | None:
        """The folder of the model, or None where it is not here yet."""
        found = self._folder / _checked(digest)
        if not found.is_dir():
            return None
        os.utime(found)
        return found

    def add(self, digest: str, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Keep the files of a model, all or none. Raises DeviceError for a name that is a path."""
        folder = self._folder / _checked(digest)
        kept = [_checked(name) for name in names]
        part = self._folder / f".{digest[:16]}-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for name, content in zip(kept, contents, strict=True):
            (part / name).write_bytes(content)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
        self._shrink(keep=folder)

    def _shrink(self, keep: Path) -> None:
        """Remove what was used longest ago until the rest fits; open files stay readable until they are closed."""
        found = sorted(self._folder.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        total = 0
        for folder in (keep, *(folder for folder in found if folder != keep)):
            total += sum(file.stat().st_size for file in folder.iterdir())
            if total > self._limit and folder != keep:
                shutil.rmtree(folder, ignore_errors=True)


def _checked(name: str) -> str:
    if not name or name.startswith(".") or Path(name).name != name:
        raise DeviceError(f"{name!r} is no name of a model file")
    return name
