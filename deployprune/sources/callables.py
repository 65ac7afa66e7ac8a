"""Python objects that the user names on the command line, in the configuration or in a call: ``pkg.mod:attr``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from deployprune.errors import DeployPruneError, UsageError

__all__ = ["resolve", "running", "searched"]


def resolve(name: str) -> Any:
    """The object that ``pkg.mod:attr`` or ``path/to/file.py:attr`` names (``attr`` may have dots).

    This imports, hence runs, code: only ever call it with what the user wrote, never with what a file says. The
    working directory is searched as ``python -m`` would, and only while importing.

    Raises UsageError when the form is wrong, or the module or the attribute cannot be found or imported.
    """
    module_name, separator, attribute = name.rpartition(":")
    if not separator or not module_name or not attribute:
        raise UsageError(f"{name!r} does not name a Python object", hint="write pkg.mod:name or path/to/file.py:name")
    found: Any = _import_file(Path(module_name)) if module_name.endswith(".py") else _import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{module_name!r} has no attribute {attribute!r}", hint=_offer(found))
        found = getattr(found, part)
    return found


@contextmanager
def running(what: str) -> Iterator[None]:
    """Raise what the user's own code raises in the context as a UsageError: ``what`` happened, and on which line."""
    try:
        yield
    except DeployPruneError:
        raise
    except Exception as error:  # a user's code may raise anything
        said = (str(error).strip().splitlines() or [""])[0]
        raise UsageError(
            f"{what}: {type(error).__name__}: {said}{_place(error)}",
            hint="this comes from your own code; --debug shows the whole way there",
        ) from error


def _place(error: Exception) -> str:
    """The last line outside of installed packages and of this one, as `` (nets.py:33)``; empty where there is none."""
    own = str(Path(__file__).parents[1])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((own, "<"))]
    outside = [frame for frame in frames if "site-packages" not in frame.filename]
    return f" ({Path(outside[-1].filename).name}:{outside[-1].lineno})" if outside else ""


def _import_module(name: str) -> ModuleType:
    with searched(Path.cwd()):
        try:
            return importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise UsageError(
                f"cannot import {name!r}: {type(error).__name__}: {error}",
                hint="it is looked for in the working directory and in the environment; check name and dependencies",
            ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="the path is taken from the working directory")
    file = path.resolve()
    name = f"{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles in the file look their own module up
    with searched(file.parent):
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # a user's file may raise anything
            del sys.modules[name]
            raise UsageError(f"cannot import {path}: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def searched(directory: Path) -> Iterator[None]:
    """Search ``directory`` first for the time of the context."""
    entry = str(directory)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _offer(module: Any) -> str:
    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    return f"callables there: {', '.join(sorted(names)[:8]) or 'none'}"
