"""The captured program as a graph that trains: nothing in place, batch norm and dropout following the module's mode."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from deployprune.graph.rules import operation_name
from deployprune.graph.rules.base import argument_names

__all__ = ["Dropout", "Program", "find_dropouts", "is_view", "make_trainable"]

aten = torch.ops.aten
_DROPOUTS = {aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default}
_DROPPING = ("dropout", "feature_dropout", "alpha_dropout", "lstm", "gru", "rnn_tanh", "rnn_relu")

# The operation and the share that it drops.
Dropout = tuple[Any, float]


class Program(fx.GraphModule):
    """A captured graph that can be copied: torch warns of its own classes, and forgets which buffers are not saved."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            copied = super().__deepcopy__(memo)
        copied._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        return copied


def find_dropouts(program: torch.export.ExportedProgram) -> dict[str, Dropout]:
    """The dropout calls of a program, by the names that torch gives to the user's calls of functions."""
    return {
        node.meta["torch_fn"][0]: (node.target, node.args[1])
        for node in program.graph.nodes
        if node.op == "call_function" and node.target in _DROPOUTS and "torch_fn" in node.meta
    }


def make_trainable(
    program: torch.export.ExportedProgram, dropouts: Mapping[str, Dropout], *, functional: bool
) -> fx.GraphModule | None:
    """The program as a module that trains; ``dropouts`` are those it had before torch simplified them away.

    None where an in-place call has no safe plain form, unless in torch's ``functional`` form.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if functional:
            program = program.run_decompositions({})
        exported = program.module(check_guards=False)
    graph = exported.graph
    if not functional and not _replace_in_place(graph):
        return None
    _restore_copies(graph)
    _restore_batch_norm(graph)
    _restore_dropout(graph, dropouts)
    _follow_training(graph)
    graph.eliminate_dead_code()
    result = Program(exported, graph)
    result.eval()
    return result


def is_view(node: fx.Node) -> bool:
    """Whether a call's result may share memory with its first operand."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(r.alias_info and not r.alias_info.is_write for r in schema.returns)


def _replace_in_place(graph: fx.Graph) -> bool:
    """Replace calls such as ``relu_`` by ``relu``; False where memory is shared in a way that this would change."""
    order = {node: index for index, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None or not schema.is_mutable:
            continue
        written = [a for a in schema.arguments if a.alias_info and a.alias_info.is_write]
        plain = getattr(getattr(aten, operation_name(node.target), None), node.target._overloadname, None)
        target = node.args[0]
        if len(written) != 1 or plain is None or plain._schema.is_mutable or not isinstance(target, fx.Node):
            return False
        if not _owns_memory(target, node, order):
            return False
        node.target = plain
        for user in list(target.users):
            if order[user] > order[node]:
                user.replace_input_with(target, node)
    return True


def _owns_memory(target: fx.Node, writer: fx.Node, order: dict[fx.Node, int]) -> bool:
    """Whether nothing else that is read later shares the memory of ``target``."""
    if target.op in ("placeholder", "get_attr"):
        return False
    if any(is_view(user) and user is not writer and user.users for user in target.users):
        return False
    while is_view(target):
        base = target.args[0]
        if not isinstance(base, fx.Node) or len(base.users) > 1 or base.op in ("placeholder", "get_attr"):
            return False
        target = base
    return True


def _restore_copies(graph: fx.Graph) -> None:
    """torch's functional form of a value written in place has no derivative; the value, spread as far, is the same."""
    for node in list(graph.nodes):
        if node.target is not aten.copy.default:
            continue
        under, value = node.args[:2]
        with graph.inserting_before(node):
            if value.meta["val"].dtype != under.meta["val"].dtype:
                value = graph.call_function(aten.to.dtype, (value, under.meta["val"].dtype))
            spread = graph.call_function(aten.expand_as.default, (value, under))
        spread.meta = dict(node.meta)
        node.replace_all_uses_with(spread)
        graph.erase_node(node)


def _restore_batch_norm(graph: fx.Graph) -> None:
    """torch's functional form of batch norm cannot be trained; its plain form can."""
    for node in list(graph.nodes):
        if node.target is aten._native_batch_norm_legit_no_training.default:
            x, weight, bias, mean, variance, momentum, eps = node.args
            arguments = (x, weight, bias, mean, variance, False, momentum, eps, False)
        elif node.target is aten._native_batch_norm_legit.no_stats:
            x, weight, bias, own, momentum, eps = node.args
            arguments = (x, weight, bias, None, None, own, momentum, eps, False)
        else:
            continue
        with graph.inserting_after(node):
            plain = graph.call_function(aten.batch_norm.default, arguments)
        plain.meta = {**node.meta, "val": node.meta["val"][0]}
        for user in list(node.users):
            user.replace_all_uses_with(plain)
            graph.erase_node(user)
        graph.erase_node(node)


def _restore_dropout(graph: fx.Graph, dropouts: Mapping[str, Dropout]) -> None:
    """torch's functional form of a dropout that is switched off is a copy."""
    for node in graph.nodes:
        name = (node.meta.get("torch_fn") or ("",))[0]
        if node.target is aten.clone.default and name in dropouts:
            node.target, share = dropouts[name]
            node.args, node.kwargs = (node.args[0], share, False), {}


def _follow_training(graph: fx.Graph) -> None:
    """Let batch norm, dropout and recurrent layers, which drop between them, read the module's ``training`` flag."""
    flags = {"batch_norm": "training", **dict.fromkeys(_DROPPING, "train")}
    found = [
        node
        for node in graph.nodes
        if node.op == "call_function" and hasattr(node.target, "_schema") and operation_name(node.target) in flags
    ]
    if not found:
        return
    with graph.inserting_before(next(iter(graph.nodes))):
        training = graph.create_node("get_attr", "training")
    for node in found:
        position = argument_names(node.target).index(flags[operation_name(node.target)])
        if node.args[position] is False:
            node.update_arg(position, training)
