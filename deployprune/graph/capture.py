"""Capture: any module that ``torch.export`` takes becomes one graph of ATen calls that runs and trains like it.

The graph is torch's training form: convolutions, norms and attention are whole, dropout and batch norm are still there.
In-place calls are replaced by their plain twins; where that cannot be done safely, torch's own functional form is taken.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from deployprune.errors import UnsupportedModelError
from deployprune.graph.rules import operation_name
from deployprune.graph.rules.base import argument_names

__all__ = ["Captured", "capture", "flatten_outputs", "location_of", "module_of"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Captured:
    """A module as a graph: ``module`` is callable like the original; ``inputs`` are the example inputs it was given."""

    module: fx.GraphModule
    inputs: tuple[Any, ...]
    dynamic_batch: bool


def capture(module: nn.Module, inputs: tuple[Any, ...]) -> Captured:
    """Capture ``module``, with a free batch size where the model allows one; the module itself is left as it was.

    Raises UnsupportedModelError with torch's reason, shortened, and the user's source line.
    """
    with _evaluating(module), torch.no_grad():
        reference = _run_forward(module, inputs)
        for dynamic in (True, False):
            program = _export(module, inputs, dynamic=dynamic)
            for functional in (False, True):
                graph_module = _trainable(program, functional=functional)
                if graph_module is not None and _agrees(graph_module, inputs, reference):
                    return Captured(graph_module, inputs, dynamic)
    raise UnsupportedModelError(
        "the captured graph does not compute what the model computes",
        hint="the forward may depend on random numbers, on time or on state that it changes; make it a function of its inputs",
    )


def flatten_outputs(outputs: Any) -> list[torch.Tensor]:
    """All tensors of a forward's result, in order: tuples, dictionaries and dataclasses are opened."""
    leaves, _ = torch.utils._pytree.tree_flatten(outputs)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def location_of(node: fx.Node) -> str:
    """The user's source line that a node comes from, as ``file:line (code)``; empty where torch recorded none."""
    lines = [line.strip() for line in str(node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith("File "):
            parts = lines[index].replace('"', "").split(", ")
            code = lines[index + 1] if index + 1 < len(lines) else ""
            return f"{parts[0].removeprefix('File ')}:{parts[1].removeprefix('line ')} ({code})"
    return ""


def module_of(node: fx.Node) -> str:
    """The dotted path of the innermost module that a node was called in."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    try:
        module.eval()
    except NotImplementedError:  # torch forbids it on its own exported modules, which are in that mode already
        modes = {}
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _run_forward(module: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    try:
        return [tensor.clone() for tensor in flatten_outputs(module(*inputs))]
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs if isinstance(x, torch.Tensor))
        raise UnsupportedModelError(
            f"the model's forward fails on an example input of shape {shapes}: {_first_line(error)}",
            hint="check --input: dimensions are separated by x, the first is the batch, as in 1x3x224x224",
        ) from error


def _export(module: nn.Module, inputs: tuple[Any, ...], *, dynamic: bool) -> torch.export.ExportedProgram:
    examples, shapes = inputs, None
    if dynamic:
        examples = tuple(_at_least_two(value) for value in inputs)
        auto = torch.export.Dim.AUTO
        shapes = tuple({0: auto} if isinstance(value, torch.Tensor) and value.ndim else None for value in examples)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(module, examples, strict=False, dynamic_shapes=shapes)
    except Exception as error:
        if dynamic:
            return _export(module, inputs, dynamic=False)
        raise UnsupportedModelError(
            f"torch.export cannot capture the model: {_first_line(error)}{_source_line(error)}",
            hint="data-dependent control flow is the usual reason: export the tensor core of the model, "
            "or rewrite the branch with torch.where or torch.cond",
        ) from error


def _at_least_two(value: Any) -> Any:
    """torch.export takes a batch of one for a constant."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == 1:
        return torch.cat([value, value])
    return value


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def _source_line(error: Exception) -> str:
    trace = error.__traceback__
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/torch/" not in file and "deployprune" not in file and not file.startswith("<"):
            place = f" (at {file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place


# --------------------------------------------------------------------------------------------- a graph that can train


def _trainable(program: torch.export.ExportedProgram, *, functional: bool) -> fx.GraphModule | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if functional:
            program = program.run_decompositions({})
        exported = program.module(check_guards=False)
    graph = exported.graph
    if not functional and not _replace_in_place(graph):
        return None
    _restore_batch_norm(graph)
    _follow_training(graph)
    graph.eliminate_dead_code()
    result = fx.GraphModule(exported, graph)
    result.eval()
    return result


def _agrees(module: fx.GraphModule, inputs: tuple[Any, ...], reference: list[torch.Tensor]) -> bool:
    try:
        outputs = flatten_outputs(module(*copy.deepcopy(inputs)))
    except Exception:  # a graph that does not run at the asked batch size is simply not taken
        return False
    return len(outputs) == len(reference) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(outputs, reference, strict=True)
    )


def _is_view(node: fx.Node) -> bool:
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
        target.replace_all_uses_with(node, delete_user_cb=lambda user, at=order[node]: order[user] > at)
    return True


def _owns_memory(target: fx.Node, writer: fx.Node, order: dict[fx.Node, int]) -> bool:
    """Whether nothing else that is read later shares the memory of ``target``."""
    if target.op in ("placeholder", "get_attr"):
        return False
    if any(_is_view(user) and user is not writer and user.users for user in target.users):
        return False
    while _is_view(target):
        base = target.args[0]
        if not isinstance(base, fx.Node) or len(base.users) > 1 or base.op in ("placeholder", "get_attr"):
            return False
        target = base
    return True


def _restore_batch_norm(graph: fx.Graph) -> None:
    """torch's functional form of batch norm cannot be trained; its plain form can."""
    for node in list(graph.nodes):
        if node.target is not aten._native_batch_norm_legit_no_training.default:
            continue
        x, weight, bias, mean, variance, momentum, eps = node.args
        with graph.inserting_after(node):
            plain = graph.call_function(
                aten.batch_norm.default, (x, weight, bias, mean, variance, False, momentum, eps, False)
            )
        plain.meta = {**node.meta, "val": None}
        for user in list(node.users):
            user.replace_all_uses_with(plain)
            graph.erase_node(user)
        graph.erase_node(node)


def _follow_training(graph: fx.Graph) -> None:
    """Let batch norm and dropout read the module's own ``training`` flag."""
    flags = {"batch_norm": "training", "dropout": "train", "feature_dropout": "train", "alpha_dropout": "train"}
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
