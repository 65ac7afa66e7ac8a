"""The record of a file that ships: its size and its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deployprune.errors import ExportError, UsageError
from deployprune.export.formats import format_of
from deployprune.records import Artifact

__all__ = ["artifact_files", "file_artifact"]


def artifact_files(path: Path) -> tuple[Path, ...]:
    """``path`` and the side file that belongs to it, if there is one: IR weights, or ONNX external data."""
    return format_of(path).files(path)


def file_artifact(path: Path, root: Path, format: str) -> Artifact:  # noqa: A002 - the record's own word
    """Describe ``path`` relative to ``root``; the SHA-256 runs over the file, then its side file.

    Raises UsageError for a path outside ``root``, ExportError for a file that cannot be read.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{path} is outside of {root}")
    digest, size = hashlib.sha256(), 0
    try:
        for file in artifact_files(path):
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                    size += len(block)
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror or error}") from error
    relative = path.resolve().relative_to(root.resolve()).as_posix()
    return Artifact(path=relative, format=format, sha256=digest.hexdigest(), size_bytes=size)
