"""Reading a ``.pt2`` file of ``torch.export.save`` without running anything that it brings along.

Such an archive can run code in four ways: pickled weights, constants and sample inputs; compiled libraries; expressions
that sympy evaluates; and names of operators, parameters and types that end up in generated code. The archive is
read once into memory and held against :mod:`deployprune.sources.program_text` before torch sees it.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export.pt2_archive._package import PT2ArchiveReader, load_pt2

from deployprune.errors import UnsafeModelError, UsageError
from deployprune.sources.program_text import find_unsafe_text

__all__ = ["read_exported"]

_PICKLED_PREFIXES = ("custom_obj", "opaque_obj")
_CONFIG_SUFFIXES = ("_weights_config.json", "_constants_config.json")
_BOOKKEEPING = ("archive_format", "archive_version", "byteorder", "version", ".data/")


def read_exported(path: Path, *, trust_pickle: bool = False) -> nn.Module:
    """The program in a ``.pt2`` file as a module that can be captured again.

    Its batch-norm and dropout modes stay as they were exported.

    Raises UnsafeModelError where the file holds anything that could run code, UsageError where it cannot be read.
    With ``trust_pickle`` the file may run any code.
    """
    data = path.read_bytes()
    with _quiet():
        try:
            unsafe = None if trust_pickle else _find_unsafe(data)
            if unsafe is None:
                program = _load(data, trust_pickle)
        except Exception as error:  # torch raises anything on damaged files
            raise UsageError(
                f"cannot read {path} as an exported program: {type(error).__name__}: {str(error)[:200]}",
                hint=f"export and save it again with torch {torch.__version__.partition('+')[0]}",
            ) from error
        if unsafe is not None:
            raise UnsafeModelError(
                f"{path} could run code when loaded: it holds {unsafe}",
                hint="pass the model's state dict with --arch pkg.mod:factory (or file.py:factory); "
                "or, if you made this file yourself, pass --trust-pickle",
            )
        module = program.module(check_guards=False)  # the guards are source code in the file
    del module.train, module.eval  # they only raise; the modes of the program are fixed either way
    return module


def _load(data: bytes, trust_pickle: bool) -> torch.export.ExportedProgram:
    if trust_pickle:
        return torch.export.load(io.BytesIO(data))
    # torch.export.load would fall back to an older, pickled format
    return load_pt2(io.BytesIO(data)).exported_programs["model"]


def _find_unsafe(data: bytes) -> str | None:
    """What in the archive could run code, in words, or None. Reads with torch's own reader: a second one may differ."""
    with PT2ArchiveReader(io.BytesIO(data)) as archive:
        names = archive.get_file_names()
        for name in names:
            found = _check_part(archive, name)
            if found:
                return found
        return "two parts of one name" if len(set(names)) != len(names) else None


def _check_part(archive: PT2ArchiveReader, name: str) -> str | None:
    if name.startswith("data/sample_inputs/"):
        return _check_sample_inputs(archive.read_bytes(name))
    if name.startswith("models/"):
        return find_unsafe_text(json.loads(archive.read_string(name)))
    if name.endswith(_CONFIG_SUFFIXES):
        return _check_payloads(json.loads(archive.read_string(name)))
    kept = name.startswith(("data/weights/weight_", "data/constants/tensor_", "extra/", *_BOOKKEEPING))
    return None if kept else f"the part {name!r}"


def _check_payloads(config: dict[str, Any]) -> str | None:
    for name, payload in config["config"].items():
        if payload["use_pickle"] or payload["path_name"].startswith(_PICKLED_PREFIXES):
            return f"the pickled tensor or object {name!r}"
    return None


def _check_sample_inputs(data: bytes) -> str | None:
    if not data:
        return None
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except pickle.UnpicklingError:
        return "sample inputs that are more than tensors"
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's notes on archive formats out of the user's terminal."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
