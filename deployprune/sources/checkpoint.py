"""Reading a ``torch.save`` file without running anything that it brings along."""

from __future__ import annotations

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from deployprune.errors import UnsafeModelError, UsageError
from deployprune.sources.callables import searched
from deployprune.sources.stock import find_stock

__all__ = ["read_checkpoint", "refuse_pickle"]

_ASKED_FOR = re.compile(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)")  # torch's words for it


def read_checkpoint(path: Path, *, trust_pickle: bool = False) -> Any:
    """The object in a ``torch.save`` file: a module, a state dict, or a dictionary that holds one.

    The restricted unpickler of ``weights_only=True`` reads the file. The names that it would not take are listed
    first without running anything, and admitted for this one read where all are stock (:mod:`.stock`).

    Raises UnsafeModelError naming what the file asks for beyond that, UsageError for a damaged file.
    With ``trust_pickle`` the file may run any code.
    """
    if trust_pickle:
        return _read_trusted(path)
    stock = {name: find_stock(name) for name in _list_names(path)}
    foreign = sorted(name for name, found in stock.items() if found is None)
    if foreign:
        raise refuse_pickle(path, foreign)
    with safe_globals([(found, name) for name, found in stock.items() if found is not None]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise refuse_pickle(path, [_first_line(error)]) from error
        except Exception as error:  # torch raises anything on damaged files
            raise _damaged(path, error) from error


def refuse_pickle(path: Path, foreign: list[str]) -> UnsafeModelError:
    """The refusal of a file that asks for more than plain data and stock classes, with both ways out."""
    shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
    return UnsafeModelError(
        f"{path} could run code when loaded: it asks for {shown}",
        hint="save model.state_dict() (torch.save or safetensors) and pass --arch pkg.mod:factory or file.py:factory; "
        "or, if you made this file yourself, pass --trust-pickle",
    )


def _list_names(path: Path) -> list[str]:
    """What the pickle asks for beyond torch's own list (nothing for old files, which get no exceptions)."""
    try:
        return get_unsafe_globals_in_checkpoint(str(path))
    except pickle.UnpicklingError as error:
        raise refuse_pickle(path, [_first_line(error)]) from error
    except ValueError:
        return []
    except Exception as error:  # torch raises anything on damaged files
        raise _damaged(path, error) from error


def _read_trusted(path: Path) -> Any:
    with searched(Path.cwd()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # the file's own code may raise anything
            raise UsageError(
                f"cannot load {path}: {type(error).__name__}: {_first_line(error)}",
                hint="the code that defines the model must be importable, and of the version that saved it",
            ) from error


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path} is not a model file, or it is damaged: {_first_line(error)}",
        hint="save it again with torch.save(model, path) or torch.save(model.state_dict(), path)",
    )


def _first_line(error: Exception) -> str:
    text = str(error)
    named = _ASKED_FOR.search(text)
    if named:
        return named[1]
    if "Unsupported operand" in text:
        return "instructions that plain data does not need"
    if isinstance(error, KeyError):  # the unpickler's: an instruction, or a memo, that there is not
        return "its pickle cannot be read"
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
