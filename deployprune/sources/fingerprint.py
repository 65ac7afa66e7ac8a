"""What data is told by when a run goes on with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deployprune.files import sha256_file

__all__ = ["fingerprint_data"]


def fingerprint_data(spec: str) -> str | None:
    """A hash of the data that ``spec`` names; None for a callable, whose data has no name.

    Arrays are hashed by content; of other files, of which there may be millions, name and size stand for the content.
    """
    path = Path(spec)
    if not path.exists():
        return None
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        content = sha256_file(file) if file.suffix == ".npz" else str(file.stat().st_size)
        digest.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
