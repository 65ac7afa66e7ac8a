"""Sizes kept as attributes: which attribute of which module could hold a size that changed, and what it became.

A whole number (or a tuple or list of them) that equals a size of a tensor made inside its module may be that size.
Nothing here is believed: :mod:`deployprune.graph.fitting` tries, and only equal outputs count.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from torch import fx, nn

from deployprune.graph.removal import Removal

__all__ = ["Options", "find_options"]

# {module path: {attribute: the values it may have to get, likeliest first, the present one among them}}
Options = dict[str, dict[str, list[Any]]]
# {dense size: the sizes it became, in order of appearance}
Changes = Mapping[int, list[int]]

_MOST = 6  # values tried for one attribute


def find_options(module: nn.Module, removal: Removal) -> Options:
    """All attributes of all modules that may have to change."""
    options: Options = {}
    for path, changes in _changes(removal).items():
        part = _module_at(module, path)
        if part is None:
            continue
        found = {name: values for name, value in _attributes(part) if len(values := _values(value, changes)) > 1}
        if found:
            options[path] = found
    return options


def _changes(removal: Removal) -> dict[str, dict[int, list[int]]]:
    changes: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for node in removal.graph.captured.module.graph.nodes:
        for labels in removal.graph.results(node):
            for size, keep in zip(labels.shape, removal.keeps(labels), strict=True):
                new = size if keep is None else len(keep)
                for path in _paths(node):
                    if new not in changes[path][size]:
                        changes[path][size].append(new)
    return changes


def _paths(node: fx.Node) -> list[str]:
    """The modules that a node was called in; torch numbers the later calls of a shared one."""
    stack = node.meta.get("nn_module_stack") or {}
    return [re.sub(r"@\d+", "", str(path)) for path, _ in stack.values()]


def _module_at(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _attributes(part: nn.Module) -> Iterator[tuple[str, Any]]:
    """Own attributes of a module that torch does not define, then those of plain objects that it holds."""
    if type(part).__module__.startswith("torch.nn."):
        return
    holders = []
    for name, value in vars(part).items():
        if _is_size(value):
            yield name, value
        elif hasattr(value, "__dict__") and not isinstance(value, nn.Module | type) and not name.startswith("_"):
            holders.append((name, value))
    for name, holder in holders:
        for inner, value in vars(holder).items():
            if _is_size(value):
                yield f"{name}.{inner}", value


def _is_size(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return 0 < len(value) <= 8 and all(_is_size(item) for item in value)
    return isinstance(value, int) and not isinstance(value, bool) and value > 1


def _values(value: Any, changes: Changes) -> list[Any]:
    if isinstance(value, int):
        new = [size for size in changes.get(value, ()) if size != value]
        return [*new[: _MOST - 1], value]
    items = itertools.islice(itertools.product(*(_values(item, changes) for item in value)), _MOST - 1)
    found = [type(value)(item) for item in items]
    return found if value in found else [*found, value]
