"""Fitting the user's own module to a removal: sizes kept as attributes are set until outputs equal the pruned graph's.

Where the forward stops with an error, the attributes of the modules that were running are the ones to change. Modules
of one class keep their sizes alike, so what helps one is tried on all. Only equal outputs are accepted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from deployprune.errors import ParityError
from deployprune.graph.capture import flatten_outputs
from deployprune.graph.origin import first_line
from deployprune.graph.proof import TOLERANCE, difference
from deployprune.graph.removal import Removal
from deployprune.graph.shrink import Attributes, patch, shrink
from deployprune.graph.sizes import Options, find_options

__all__ = ["Fit", "fit_module"]

_MOST_RUNS = 80
_MOST_CHANGES = 48  # combinations tried at one module

Choice = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How far a forward came: ``done`` counts finished module calls, ``running`` the modules it stopped in."""

    equal: bool
    done: int
    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A shrunk copy of the user's module that computes what the pruned graph does, and the attributes it needed.

    ``module`` is None where there is none; ``stuck`` is then the path of the module that could not be helped.
    """

    module: nn.Module | None
    attributes: Attributes = field(default_factory=dict)
    stuck: str | None = None


def fit_module(module: nn.Module, removal: Removal, pruned: fx.GraphModule) -> Fit:
    """Shrink ``module``, trying sizes for its attributes until its outputs equal those of ``pruned``."""
    inputs = removal.graph.captured.inputs
    small, stock = shrink(module, removal, pruned)
    small.eval()
    with torch.no_grad():
        expected = _run_pruned(pruned, inputs)
        search = _Search(small, find_options(module, removal), inputs, expected)
        if not search.run():
            return Fit(None, stuck=search.stuck)
    small.train(module.training)
    return Fit(small, {**stock, **search.attributes()})


def _run_pruned(pruned: fx.GraphModule, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    try:
        return flatten_outputs(pruned(*inputs))
    except RuntimeError as error:
        raise ParityError(
            f"the pruned graph does not run: {first_line(error)}",
            hint="this is a mistake in deployprune, not in your model: please report it; "
            "`ignore` can leave the group out",
        ) from error


@dataclass(slots=True)
class _Search:
    module: nn.Module
    options: Options
    inputs: tuple[Any, ...]
    expected: list[torch.Tensor]
    choice: Choice = field(default_factory=dict)
    runs: int = 0
    paths: dict[int, str] = field(default_factory=dict)
    stuck: str | None = None

    def run(self) -> bool:
        """Whether a choice was found."""
        self.paths = {id(part): path for path, part in self.module.named_modules()}
        untouched = self._try(self._everywhere(last=True))
        if untouched.equal:
            return True
        outcome = self._try(self._everywhere(last=False))
        if not outcome.equal and untouched.done > outcome.done:
            outcome = self._try(self._everywhere(last=True))
        while not outcome.equal and self.runs < _MOST_RUNS:
            self.stuck = self._own(outcome.running)
            better = self._improve(outcome)
            if better is None:
                return False
            outcome = better
        return outcome.equal

    def _own(self, running: tuple[str, ...]) -> str | None:
        """The innermost of the user's own modules; torch's layers only stop at what they are given."""
        own = (p for p in running if not type(self.module.get_submodule(p)).__module__.startswith("torch.nn."))
        return next(own, None)

    def attributes(self) -> Attributes:
        """What the present choice changes."""
        return {
            f"{path}.{name}" if path else name: self.options[path][name][index]
            for (path, name), index in self.choice.items()
            if index < len(self.options[path][name]) - 1
        }

    def _everywhere(self, *, last: bool) -> Choice:
        """Every attribute as it was (``last``), or at its likeliest new size; what plain objects hold stays."""
        return {
            (path, name): len(values) - 1 if last or "." in name else 0
            for path, names in self.options.items()
            for name, values in names.items()
        }

    def _improve(self, outcome: _Outcome) -> _Outcome | None:
        """The first change at a module that was running which gets further."""
        before = dict(self.choice)
        for path in outcome.running:
            for change in itertools.islice(_changes(self.options.get(path, {}), before, path), _MOST_CHANGES):
                if self.runs >= _MOST_RUNS:
                    return None
                tried = self._try({**before, **self._alike(path, change)})
                if tried.equal or tried.done > outcome.done:
                    return tried
        return None

    def _alike(self, path: str, change: dict[str, int]) -> Choice:
        kind = type(self.module.get_submodule(path))
        return {
            (other, name): min(index, len(names[name]) - 1)
            for other, names in self.options.items()
            if type(self.module.get_submodule(other)) is kind
            for name, index in change.items()
            if name in names
        }

    def _try(self, choice: Choice) -> _Outcome:
        self.runs += 1
        changed = {key: index for key, index in choice.items() if self.choice.get(key) != index}
        patch(
            self.module,
            {f"{path}.{name}" if path else name: self.options[path][name][i] for (path, name), i in changed.items()},
        )
        self.choice = choice
        done: list[None] = []
        hooks = [part.register_forward_hook(lambda *_: done.append(None)) for part in self.module.modules()]
        try:
            outputs = flatten_outputs(self.module(*self.inputs))
        except Exception as error:  # the user's forward, with sizes that do not fit
            return _Outcome(False, len(done), tuple(self._running(error)))
        finally:
            for hook in hooks:
                hook.remove()
        return _Outcome(difference(outputs, self.expected) <= TOLERANCE * 10, len(done), tuple(self.options))

    def _running(self, error: Exception) -> Iterator[str]:
        """The modules in whose forward the error came up, innermost first."""
        trace, found = error.__traceback__, []
        while trace is not None:
            path = self.paths.get(id(trace.tb_frame.f_locals.get("self")))
            if path is not None and path not in found:
                found.append(path)
            trace = trace.tb_next
        return reversed(found)


def _changes(names: dict[str, list[Any]], present: Choice, path: str) -> Iterator[dict[str, int]]:
    """Other choices for a module's attributes: one changed, then two, then three."""
    for count in range(1, min(3, len(names)) + 1):
        for chosen in itertools.combinations(names, count):
            others = [[i for i in range(len(names[name])) if i != present[path, name]] for name in chosen]
            for indices in itertools.product(*others):
                yield dict(zip(chosen, indices, strict=True))
