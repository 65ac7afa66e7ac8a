"""Adapting: the user's modules made to follow the pruned graph, one after another.

A module follows when it gives what the pruned graph has at its border, given what the graph has there. Where it does
not, its callees are adapted first, then sizes that it keeps as attributes are tried; what still cannot follow runs its
piece of the graph in the place of its forward.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from deployprune.graph.calls import Call, Value
from deployprune.graph.grafting import graft, replace_module
from deployprune.graph.proof import TOLERANCE, difference
from deployprune.graph.shrink import Attributes, patch
from deployprune.graph.sizes import Options

__all__ = ["FIT_TOLERANCE", "Adaptation"]

FIT_TOLERANCE = 10 * TOLERANCE  # single precision; the proof that follows computes in double
_MOST_CHANGES = 96  # combinations tried at one module
_MOST_AGAIN = 8  # where no combination helped another module of the same class

# For some attributes, which of their options.
Change = dict[str, int]


@dataclass(slots=True)
class Adaptation:
    """Makes ``module`` follow ``graph``, whose ``values`` are known; ``changed`` and ``grafted`` are what it took."""

    module: nn.Module
    graph: fx.GraphModule
    calls: Mapping[str, Call]
    options: Options
    values: Mapping[str, Any]
    changed: Attributes = field(default_factory=dict)
    grafted: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    helped: dict[type, list[Change]] = field(default_factory=lambda: defaultdict(list))
    hopeless: set[type] = field(default_factory=set)

    def fit(self, path: str) -> bool:
        """Whether the module at ``path`` follows now: its callees are fitted first, then itself, or it is grafted."""
        if self._is_left_out(path) or self._follows(path):
            return True
        for callee in self._callees(path):
            self.fit(callee)
        if self._follows(path) or self._search(path):
            return True
        if self._graft_waiting(path) and (self._follows(path) or self._search(path)):
            return True
        if self._is_given_sizes(path):
            self.waiting.append(path)
            return False
        return self.graft(path)

    def caller(self, path: str) -> str:
        """The innermost module around ``path``, or there, that is called."""
        while path and path not in self.calls:
            path = path.rpartition(".")[0]
        return path

    def _is_left_out(self, path: str) -> bool:
        """Whether the pruned graph has nothing of what the module gave: its residual branch is gone."""
        return not any(name in self.values for name in self.calls[path].leaving.values)

    def _callees(self, path: str) -> list[str]:
        """The outermost called modules inside, but for torch's own layers."""
        inner = sorted(other for other in self.calls if other != path and (not path or other.startswith(f"{path}.")))
        found: list[str] = []
        for other in inner:
            if not any(other.startswith(f"{outer}.") for outer in found):
                found.append(other)
        order = {name: index for index, name in enumerate(self.calls)}
        return sorted((name for name in found if not self._is_layer(name)), key=order.__getitem__)

    def _is_layer(self, path: str) -> bool:
        part = self.module.get_submodule(path)
        return type(part).__module__.startswith("torch.nn.") and not any(part.children())

    def _follows(self, path: str) -> bool:
        call = self.calls[path]
        args, kwargs = call.entering.tree(lambda name: self.values[name].clone())
        try:
            outputs, _ = pytree.tree_flatten(self.module.get_submodule(path)(*args, **kwargs))
        except Exception:  # the user's forward, with sizes that do not fit
            return False
        expected = [self.values[leaf.node] if isinstance(leaf, Value) else None for leaf in call.leaving.leaves]
        if len(outputs) != len(expected):  # a graft leaves out what nobody uses
            outputs = [value for value in outputs if isinstance(value, torch.Tensor)]
            expected = [value for value in expected if value is not None]
        pairs = [(a, b) for a, b in zip(outputs, expected, strict=False) if b is not None]
        if len(outputs) != len(expected) or not all(isinstance(a, torch.Tensor) for a, _ in pairs):
            return False
        return difference([a for a, _ in pairs], [b for _, b in pairs]) <= FIT_TOLERANCE

    def _search(self, path: str) -> bool:
        """Whether other values of the module's attributes make it follow."""
        options, kind = self.options.get(path, {}), type(self.module.get_submodule(path))
        if not options:
            return False
        start = len(path) + 1 if path else 0
        names = {name[start:]: values for name, values in options.items()}
        most = _MOST_AGAIN if kind in self.hopeless else _MOST_CHANGES
        for change in itertools.islice(_possible(itertools.chain(self.helped[kind], _changes(names)), names), most):
            attributes = {(f"{path}.{name}" if path else name): names[name][index] for name, index in change.items()}
            before = {name: self.changed[name] if name in self.changed else options[name][-1] for name in attributes}
            patch(self.module, attributes)
            if self._follows(path):
                self.changed.update(attributes)
                self.helped[kind].insert(0, change)
                return True
            patch(self.module, before)
        self.hopeless.add(kind)
        return False

    def _graft_waiting(self, path: str) -> bool:
        """Graft what waited for its callers to give it other sizes; whether there was any."""
        inner = [other for other in self.waiting if not path or other.startswith(f"{path}.")]
        self.waiting = [other for other in self.waiting if other not in inner]
        done = [not self._follows(other) and self.graft(other) for other in inner]
        return any(done)

    def _is_given_sizes(self, path: str) -> bool:
        """Whether whole numbers are among the module's arguments: its caller may have to give it others."""
        leaves = self.calls[path].entering.leaves
        return any(isinstance(leaf, int) and not isinstance(leaf, bool) and leaf > 1 for leaf in leaves)

    def graft(self, path: str) -> bool:
        """Whether the module at ``path`` now runs its piece of the graph, and follows with it."""
        part = self.module.get_submodule(path)
        new = graft(self.module, self.calls[path], self.graph)
        if new is None:
            return False
        if not self._follows(path):
            replace_module(self.module, new, part)
            return False
        self.grafted = [*(other for other in self.grafted if not other.startswith(f"{path}.")), path]
        return True


def _changes(names: Mapping[str, list[Any]]) -> Iterator[Change]:
    """Other values for a module's attributes: the likeliest for all, then one changed, then two, then three."""
    yield dict.fromkeys(names, 0)
    for count in range(1, min(3, len(names)) + 1):
        for chosen in itertools.combinations(names, count):
            for indices in itertools.product(*(range(len(names[name]) - 1) for name in chosen)):
                yield dict(zip(chosen, indices, strict=True))


def _possible(changes: Iterable[Change], names: Mapping[str, list[Any]]) -> Iterator[Change]:
    """Those changes, each once, that these attributes can have."""
    seen: list[Change] = []
    for change in changes:
        if change not in seen and all(name in names and at < len(names[name]) for name, at in change.items()):
            seen.append(change)
            yield change
