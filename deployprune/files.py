"""Files that are written whole or not at all, and the hashes they are known by."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from deployprune.errors import RunDirectoryError

__all__ = ["TEMPORARY_PREFIX", "make_new_folder", "remove_unfinished", "sha256_bytes", "sha256_file", "write_atomic"]

TEMPORARY_PREFIX = ".unfinished-"


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path``, flush it to the disk, and rename it into place.

    Raises RunDirectoryError when the disk is full or the place cannot be written; nothing half-written stays.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        with suppress(OSError):  # a file system that nothing can be written to lets nothing be removed either
            temporary.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def make_new_folder(folder: Path, name: str) -> Path:
    """Make ``name`` in ``folder``, or ``name-2`` and so on: never one that was there before.

    Raises RunDirectoryError where no folder can be made.
    """
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        root = folder / f"{name}{suffix}"
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunDirectoryError(
                f"cannot make the run directory {root}: {error.strerror}",
                hint="name a folder that can be written with --output FOLDER",
            ) from error
        return root
    raise RunDirectoryError(f"too many runs named {name} in {folder}", hint="name another folder with --output")


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing below ``folder``: files, and folders of files that belong together."""
    for leftover in list(folder.rglob(f"{TEMPORARY_PREFIX}*")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_directory(directory: Path) -> None:
    if os.name != "posix":  # other systems cannot open a directory
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> RunDirectoryError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RunDirectoryError(
            f"no room left to write {path}: {error.strerror}",
            hint="free some space and try again (a run goes on with --resume); nothing half-written was left behind",
        )
    return RunDirectoryError(f"cannot write {path}: {error.strerror}", hint="check that the folder may be written")
