"""Sizes kept as attributes: which attribute of which module could hold a size that changed, and what it became.

A whole number (or a tuple or list of them) that a forward reads, and that equals a size of a tensor in it, may be that
size. Nothing here is believed: :mod:`deployprune.graph.fitting` tries, and only equal outputs count.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import fx, nn

from deployprune.graph.calls import Calls
from deployprune.graph.removal import Removal

__all__ = ["Options", "find_options"]

# {path of a called module: {dotted attribute: the values it may have to get, likeliest first, the present one last}}
Options = dict[str, dict[str, list[Any]]]
# {dense size: the sizes it became, in order of appearance}
Changes = Mapping[int, list[int]]

_MOST = 6  # values tried for one attribute


def find_options(module: nn.Module, removal: Removal, calls: Calls) -> Options:
    """What every called module may have to change, on itself or on modules in it that are never called."""
    changes = _changes(removal)
    options: Options = defaultdict(dict)
    for path, part in module.named_modules():
        caller = _called(path, calls)
        for name, value in _attributes(part, calls.read.get(path, frozenset())):
            values = _values(value, changes[caller])
            if len(values) > 1:
                options[caller][f"{path}.{name}" if path else name] = values
    return options


def _called(path: str, calls: Calls) -> str:
    while path and path not in calls.first:
        path = path.rpartition(".")[0]
    return path


def _changes(removal: Removal) -> dict[str, dict[int, list[int]]]:
    changes: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for node in removal.graph.captured.module.graph.nodes:
        tensors = [labels for other in (node, *node.all_input_nodes) for labels in removal.graph.results(other)]
        for labels in tensors:
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


def _attributes(part: nn.Module, read: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Those that are read of a module that is not torch's own, then those of plain objects that it holds."""
    if type(part).__module__.startswith("torch.nn."):
        return
    holders = []
    for name, value in vars(part).items():
        if name not in read:
            continue
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
    items = itertools.islice(itertools.product(*(_values(item, changes) for item in value)), _MOST)
    return [*(found for item in items if (found := type(value)(item)) != value), value]
