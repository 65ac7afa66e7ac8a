"""Calls: which values of the captured graph enter and leave each module of the user's.

The module and its graph run on the same inputs with the same randomly drawn parameters; where a tensor that crosses a
module's border has the numbers of a graph value, it is that value. Nothing here is believed: what is built on it
counts only where outputs are equal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from deployprune.graph.capture import Captured
from deployprune.graph.copying import copy_module, forget
from deployprune.graph.drawing import load_state, random_state
from deployprune.graph.reading import reading
from deployprune.graph.training_run import trains

__all__ = ["Border", "Call", "Calls", "Value", "find_calls"]

_SAMPLES = 61  # numbers compared of every tensor, beside their sum

Sketch = tuple[tuple[int, ...], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the captured graph, by its node's name."""

    node: str


@dataclass(frozen=True, slots=True)
class Border:
    """What crosses a module's border in one direction: a tree whose tensors are graph values (others as they were)."""

    leaves: tuple[Any, ...]
    spec: pytree.TreeSpec

    def tree(self, read: Callable[[str], Any]) -> Any:
        """The tree with the values that ``read`` gives for their names."""
        return pytree.tree_unflatten(
            [read(leaf.node) if isinstance(leaf, Value) else leaf for leaf in self.leaves], self.spec
        )

    @property
    def values(self) -> tuple[str, ...]:
        """The names of all graph values in it, each once."""
        return tuple(dict.fromkeys(leaf.node for leaf in self.leaves if isinstance(leaf, Value)))


@dataclass(frozen=True, slots=True)
class Call:
    """The first call of the module at ``path``: ``entering`` is its ``(args, kwargs)``, ``leaving`` its result."""

    path: str
    entering: Border
    leaving: Border


@dataclass(frozen=True, slots=True)
class Calls:
    """The first calls of all modules that compute something, callees first; ``read`` are the attributes each reads.

    ``trains`` says whether the dense module runs in the mode of training on the example inputs alone.
    """

    first: Mapping[str, Call] = field(default_factory=dict)
    read: Mapping[str, frozenset[str]] = field(default_factory=dict)
    trains: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """A border as it was met: sketches in the place of tensors, and the tensors themselves."""

    leaves: tuple[Any, ...]
    sketches: tuple[Sketch | None, ...]
    spec: pytree.TreeSpec


def find_calls(module: nn.Module, captured: Captured) -> Calls:
    """Watch one forward of ``module``, and find what crosses its modules' borders in its captured graph."""
    dense, own = copy_module(captured.module), copy_module(module).eval()
    state = random_state(dense, torch.Generator().manual_seed(0))
    load_state(own, state, {})
    forget(own)
    with torch.no_grad():
        sketches = _Sketcher(dense)
        sketches.run(*captured.inputs)
        with reading(own) as read:
            seen = _watch(own, captured.inputs)
        trainable = trains(own, captured)
    inside = _nodes_inside(captured.module.graph)
    order = {node: index for index, node in enumerate(captured.module.graph.nodes)}
    first = {
        path: _match(path, entering, leaving, inside[path], order, sketches.found)
        for path, (entering, leaving) in seen.items()
        if path in inside
    }
    return Calls(first, {path: frozenset(names) for path, names in read.items()}, trainable)


class _Sketcher(fx.Interpreter):
    """Runs a graph and keeps a sketch of every tensor in it."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.found: dict[str, Sketch] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.found[n.name] = _sketch(result)
        return result


def _sketch(tensor: torch.Tensor) -> Sketch:
    flat = (torch.view_as_real(tensor) if tensor.is_complex() else tensor).detach().reshape(-1)
    places = torch.linspace(0, max(0, flat.numel() - 1), min(_SAMPLES, flat.numel()), dtype=torch.float64).long()
    chosen = flat[places].double()
    return tuple(tensor.shape), torch.cat([chosen, flat.double().sum().reshape(1)])


def _equal(left: Sketch | None, right: Sketch | None) -> bool:
    return (
        left is not None
        and right is not None
        and left[0] == right[0]
        and torch.allclose(left[1], right[1], rtol=1e-3, atol=1e-4, equal_nan=True)
    )


def _watch(module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, tuple[_Seen, _Seen]]:
    """What the first call of every module was given and gave, in the order in which the calls ended."""
    entered: dict[str, _Seen] = {}
    seen: dict[str, tuple[_Seen, _Seen]] = {}

    def watch(path: str, part: nn.Module) -> None:
        def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
            entered.setdefault(path, _see((args, kwargs)))

        def leave(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            seen.setdefault(path, (entered[path], _see(output)))

        part.register_forward_pre_hook(enter, with_kwargs=True)
        part.register_forward_hook(leave, with_kwargs=True)

    for path, part in module.named_modules():
        watch(path, part)
    module(*inputs)
    return seen


def _see(tree: Any) -> _Seen:
    leaves, spec = pytree.tree_flatten(tree)
    return _Seen(tuple(leaves), tuple(_sketch(x) if isinstance(x, torch.Tensor) else None for x in leaves), spec)


def _nodes_inside(graph: fx.Graph) -> dict[str, list[fx.Node]]:
    """The nodes of the first call of every module; torch numbers the later ones."""
    inside: dict[str, list[fx.Node]] = defaultdict(list)
    for node in graph.nodes:
        if node.op == "call_function":
            paths = {str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()}
            for path in paths | {""}:
                inside[path].append(node)
    return inside


def _match(
    path: str,
    entering: _Seen,
    leaving: _Seen,
    inside: Sequence[fx.Node],
    order: dict[fx.Node, int],
    sketches: dict[str, Sketch],
) -> Call:
    own = set(inside)
    used = dict.fromkeys(source for node in inside for source in node.all_input_nodes if source not in own)
    before = [node for node, index in order.items() if index < order[inside[0]] and node not in used]
    sources = [*used, *reversed(before)]
    given = [node for node in reversed(inside) if any(user not in own for user in node.users)]
    results = [*given, *reversed(inside), *used]
    return Call(path, _border(entering, sources, sketches), _border(leaving, results, sketches))


def _border(seen: _Seen, candidates: Iterable[fx.Node], sketches: dict[str, Sketch]) -> Border:
    names = [node.name for node in candidates]

    def matched(leaf: Any, sketch: Sketch | None) -> Any:
        if sketch is None:
            return leaf
        return next((Value(name) for name in names if _equal(sketches.get(name), sketch)), leaf)

    return Border(tuple(map(matched, seen.leaves, seen.sketches)), seen.spec)
