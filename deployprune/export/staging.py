"""Files that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployprune.errors import ExportError
from deployprune.files import TEMPORARY_PREFIX

__all__ = ["staged"]


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Give a place to write ``path`` (and side files) in, and move it all beside ``path`` when the block ends.

    The place is a folder inside ``path``'s own, so that every move is one rename. When the block fails, nothing of it
    stays. Raises ExportError, naming ``path``, when the folder cannot be written or the disk is full.
    """
    folder: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{path.name}-", dir=path.parent))
        yield folder / path.name
        # The main file last: where it is, its side files are.
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)
    except OSError as error:
        raise ExportError(
            f"cannot write {path}: {error.strerror or error}",
            hint="free disk space, or choose an output folder that you may write to",
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
