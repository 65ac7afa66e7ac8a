"""Label propagation: the dense graph runs once, and every operation's rule passes the labels on.

An operation without a rule freezes its operands, and is reported: a model is never pruned on a guess.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from deployprune.graph.atoms import Atoms
from deployprune.graph.capture import Captured
from deployprune.graph.holding import Holding
from deployprune.graph.labelled import LabelledGraph, Opaque
from deployprune.graph.labels import KEEP, Labels
from deployprune.graph.origin import location_of, module_of
from deployprune.graph.rules import Call, Rule, Value, operation_name, rule_for
from deployprune.graph.rules.base import bind

__all__ = ["propagate"]

_NEEDS_ALL = "it needs every channel, or each in its place"


def propagate(captured: Captured) -> LabelledGraph:
    """Run the captured graph on its example inputs and label every tensor in it."""
    graph = LabelledGraph(captured, Atoms())
    with torch.no_grad():
        _Propagator(graph).run(*captured.inputs)
    _label_other_names(graph)
    return graph


def _label_other_names(graph: LabelledGraph) -> None:
    """A tensor has the same labels under all its names, those that the graph does not use included."""
    module = graph.captured.module
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    known = {id(tensor): graph.parameters[name] for name, tensor in named if name in graph.parameters}
    graph.parameters.update({name: known[id(tensor)] for name, tensor in named if id(tensor) in known})


class _Propagator(fx.Interpreter):
    def __init__(self, graph: LabelledGraph) -> None:
        super().__init__(graph.captured.module)
        self.labelled = graph
        self._owners: dict[int, str] = {}
        self._free: set[str] = set()
        self._holding = Holding(graph.atoms, graph.parameters)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op == "placeholder":
            if isinstance(result, torch.Tensor):
                self.labelled.nodes[n.name] = Labels(tuple(result.shape))
        elif n.op == "get_attr":
            self._label_attribute(n, result)
        elif n.op == "output":
            self._freeze_outputs(n)
        else:
            self._label_call(n, result)
        return result

    def _label_attribute(self, node: fx.Node, value: Any) -> None:
        if not isinstance(value, torch.Tensor):
            return
        self._free.add(node.name)
        if not (value.is_floating_point() or value.is_complex()):
            self.labelled.nodes[node.name] = Labels(tuple(value.shape))
            self.labelled.constants[node.name] = value
            return
        # One tensor under two names is one set of axes.
        owner = self._owners.setdefault(id(value), str(node.target))
        if owner not in self.labelled.parameters:
            self.labelled.parameters[owner] = self.labelled.atoms.parameter(value.shape)
        self.labelled.parameters[str(node.target)] = self.labelled.parameters[owner]
        self.labelled.nodes[node.name] = self.labelled.parameters[owner]

    def _freeze_outputs(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            for labels in self.labelled.results(source):
                self.labelled.atoms.freeze_labels(labels)
        self._tell_held("output", "the model's outputs stay as they are", "")

    def _label_call(self, node: fx.Node, result: Any) -> None:
        constant = all(source.name in self._free for source in node.all_input_nodes)
        if constant:
            self._free.add(node.name)
        if _is_getitem(node):
            source, position = node.args
            labels = self.labelled.nodes.get(source.name) if isinstance(source, fx.Node) else None
            if isinstance(labels, list) and isinstance(position, int):
                self.labelled.nodes[node.name] = labels[position]
            return
        if not _holds_tensor(result):
            return
        if constant and isinstance(result, torch.Tensor) and not result.is_floating_point():
            self.labelled.constants[node.name] = result
        rule = rule_for(node.target)
        if rule is None:
            self._freeze_call(node, result, "no rule for this operation")
            return
        try:
            labels = self._apply(rule, node, result)
        except (
            ArithmeticError,
            IndexError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            self._freeze_call(node, result, f"its rule does not cover this call ({type(error).__name__}: {error})")
            return
        self.labelled.nodes[node.name] = labels
        self._tell_held(operation_name(node.target), _NEEDS_ALL, location_of(node) or module_of(node))

    def _tell_held(self, op: str, reason: str, location: str) -> None:
        held = self._holding.newly_held()
        if held:
            self.labelled.held.append(Opaque(op, reason, location, held))

    def _apply(self, rule: Rule, node: fx.Node, result: Any) -> Labels | list[Labels]:
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        values = bind(node.target, args, kwargs)
        literal = bind(node.target, node.args, dict(node.kwargs))
        arguments = {name: self._wrap(value, literal.get(name)) for name, value in values.items()}
        return rule.labels(Call(self.labelled.atoms, node.target, arguments, result, literal))

    def _wrap(self, value: Any, source: Any) -> Any:
        if isinstance(source, fx.Node) and isinstance(value, torch.Tensor):
            labels = self.labelled.nodes[source.name]
            if isinstance(labels, list):
                raise TypeError("a result with several tensors where one is needed")
            return Value(labels, value, source.name in self._free)
        if isinstance(source, list | tuple) and isinstance(value, list | tuple):
            return [self._wrap(item, given) for item, given in zip(value, source, strict=True)]
        return value

    def _freeze_call(self, node: fx.Node, result: Any, reason: str) -> None:
        frozen = [labels for source in node.all_input_nodes for labels in self.labelled.results(source)]
        name = operation_name(node.target) if hasattr(node.target, "_schema") else str(node.target)
        parameters = self._parameters_of(frozen)
        if parameters:
            place = location_of(node) or module_of(node)
            self.labelled.opaque.append(Opaque(name, reason, place, parameters))
        for labels in frozen:
            self.labelled.atoms.freeze_labels(labels)
        self._holding.newly_held()  # they are told already
        if isinstance(result, torch.Tensor):
            self.labelled.nodes[node.name] = Labels(tuple(result.shape))
        else:
            shapes = [tuple(x.shape) if isinstance(x, torch.Tensor) else () for x in result]
            self.labelled.nodes[node.name] = [Labels(shape) for shape in shapes]

    def _parameters_of(self, frozen: list[Labels]) -> tuple[str, ...]:
        """The parameters that share an atom, not frozen before, with these labels."""
        find = self.labelled.atoms.find
        atoms = {atom for labels in frozen for layer in labels.layers for atom in find(layer.ids).ravel().tolist()}
        atoms.discard(KEEP)
        return tuple(
            name
            for name, labels in self.labelled.parameters.items()
            if any(not atoms.isdisjoint(find(layer.ids).tolist()) for layer in labels.layers)
        )


def _is_getitem(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem" and isinstance(node.args[0], fx.Node)


def _holds_tensor(result: Any) -> bool:
    if isinstance(result, torch.Tensor):
        return True
    return isinstance(result, tuple | list) and any(isinstance(item, torch.Tensor) for item in result)
