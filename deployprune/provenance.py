"""What a record was made from: the names and hashes of its inputs, and whether they still hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from deployprune.errors import RunDirectoryError
from deployprune.files import sha256_file

__all__ = ["hash_inputs", "require_same"]


def hash_inputs(root: Path, paths: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of every file by name: relative to ``root`` for what lies in it, absolute for what does not.

    Raises RunDirectoryError for a file that cannot be read.
    """
    return {_name(root, path): _hash(path) for path in paths}


def require_same(record: Path, stored: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Check that ``record`` was made from the inputs of now; RunDirectoryError names the first that differs."""
    changed = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    if changed:
        raise RunDirectoryError(
            f"{record} was made from another {changed[0]} than the one that is there now",
            hint=f"put the old {changed[0]} back, or start a new run; to redo this step, delete {record.name}",
        )


def _name(root: Path, path: Path) -> str:
    absolute, inside = path.resolve(), root.resolve()
    return absolute.relative_to(inside).as_posix() if absolute.is_relative_to(inside) else str(absolute)


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise RunDirectoryError(
            f"cannot read {path}, which a step is made from: {error.strerror}",
            hint="put it back; if a step of this run wrote it, delete that step's record and resume the run",
        ) from error
