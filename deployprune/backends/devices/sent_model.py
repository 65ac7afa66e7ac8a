"""A model's files on their way to a device, which knows them by their hash and keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deployprune.backends.devices.address import LOCAL
from deployprune.backends.devices.files import model_files
from deployprune.backends.devices.link import Link
from deployprune.records import Target

__all__ = ["SentModel"]


@dataclass(frozen=True, slots=True)
class SentModel:
    """A model's files and the hash that the device knows them by."""

    files: tuple[Path, ...]
    digest: str

    @classmethod
    def of(cls, path: Path) -> SentModel:
        """``path`` with the file beside it that belongs to it."""
        files = model_files(path)
        whole = hashlib.sha256()
        for file in files:
            whole.update(f"{file.name}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return cls(files, whole.hexdigest())

    def arguments(self, link: Link, target: Target) -> dict[str, Any]:
        """How a call names the model, which is sent if it is not on the device yet."""
        if not link.call("has", {"digest": self.digest})[0]:
            names = [file.name for file in self.files]
            link.call("store", {"digest": self.digest, "names": names}, [file.read_bytes() for file in self.files])
        return {
            "digest": self.digest,
            "name": self.files[0].name,
            "target": asdict(replace(target, device=LOCAL)),
        }
