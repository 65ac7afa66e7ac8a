"""Which files make a model: what has to travel together."""

from __future__ import annotations

from pathlib import Path

__all__ = ["model_files"]

_BESIDE = {".xml": ".bin", ".param": ".bin"}


def model_files(path: Path) -> tuple[Path, ...]:
    """``path``, and the file with the weights beside it where its format keeps them apart."""
    side = path.with_suffix(_BESIDE.get(path.suffix, path.suffix))
    return (path, side) if side != path and side.is_file() else (path,)
