"""Reading: which of its attributes a module's forward looks at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["reading"]


@contextmanager
def reading(module: nn.Module) -> Iterator[dict[str, set[str]]]:
    """Note, by the path of every module, the names of its attributes that are read meanwhile."""
    read: dict[str, set[str]] = {}
    classes: dict[nn.Module, type[nn.Module]] = {}
    for path, part in module.named_modules():
        kind, names = type(part), read.setdefault(path, set())
        try:
            part.__class__ = _watched(kind, names)
        except TypeError:  # a class that does not let its objects change: all of its attributes may be read
            names.update(vars(part))
        else:
            classes[part] = kind
    try:
        yield read
    finally:
        for part, kind in classes.items():
            part.__class__ = kind


def _watched(kind: type[nn.Module], names: set[str]) -> type[nn.Module]:
    def watch(self: nn.Module, name: str) -> Any:
        names.add(name)
        return kind.__getattribute__(self, name)

    return type(kind.__name__, (kind,), {"__getattribute__": watch, "__module__": kind.__module__})
