"""Capture: any module that ``torch.export`` takes becomes one graph of ATen calls that runs and trains like it.

The graph is torch's training form: convolutions, norms and attention are whole, dropout and batch norm are still there.
In-place calls are replaced by their plain twins; where that is not safe, torch's own functional form is taken.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from deployprune.errors import UnsupportedModelError
from deployprune.graph.copying import forget
from deployprune.graph.origin import first_line, location_of, source_line
from deployprune.graph.rules import operation_name, rule_for
from deployprune.graph.state_names import match_names
from deployprune.graph.training_form import find_dropouts, make_trainable

__all__ = ["Captured", "capture", "flatten_outputs", "twice"]


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
            forget(module)
            exported = _export(module, inputs, dynamic=dynamic)
            dropouts, program = find_dropouts(exported), _decompose_unknown(exported)
            for functional in (False, True):
                graph_module = make_trainable(program, dropouts, functional=functional)
                if graph_module is None or not _agrees(graph_module, inputs, reference):
                    continue
                if not dynamic or _agrees_on_more(graph_module, module, inputs):
                    match_names(graph_module, module)
                    return Captured(graph_module, inputs, dynamic)
    drawn = _random_call(program)
    raise UnsupportedModelError(
        "the captured graph does not compute what the model computes"
        + (f": its forward draws random numbers in {drawn}" if drawn else ""),
        hint="the forward may depend on random numbers, on time or on state that it changes; "
        "make it a function of its inputs: give noise or masks as an input, or leave them out in eval mode",
    )


def twice(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs with every example in them two times: a batch twice as large."""
    return tuple(torch.cat([x, x]) if isinstance(x, torch.Tensor) and x.ndim else x for x in inputs)


def _random_call(program: torch.export.ExportedProgram) -> str:
    """The first call that draws random numbers and where it stands; empty where there is none."""
    for node in program.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in node.target.tags:
            name = operation_name(node.target)
            if "dropout" not in name and "attention" not in name:
                return f"{name} at {location_of(node)}"
    return ""


def flatten_outputs(outputs: Any) -> list[torch.Tensor]:
    """All tensors of a forward's result, in order: tuples, dictionaries and dataclasses are opened."""
    leaves, _ = torch.utils._pytree.tree_flatten(outputs)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


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
            f"the model's forward fails on an example input of shape {shapes}: {first_line(error)}",
            hint="check --input: dimensions are separated by x, the first is the batch, as in 1x3x224x224",
        ) from error


def _export(module: nn.Module, inputs: tuple[Any, ...], *, dynamic: bool) -> torch.export.ExportedProgram:
    examples, shapes = inputs, None
    if dynamic:
        examples = tuple(_at_least_two(value) for value in inputs)
        auto = torch.export.Dim.AUTO
        shapes = tuple({0: auto} if isinstance(value, torch.Tensor) and value.ndim else None for value in examples)
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            return torch.export.export(module, examples, strict=False, dynamic_shapes=shapes)
    except Exception as error:
        if dynamic:
            return _export(module, inputs, dynamic=False)
        raise UnsupportedModelError(
            f"torch.export cannot capture the model: {first_line(error)}{source_line(error)}",
            hint=_advice(error),
        ) from error


def _advice(error: Exception) -> str:
    text = str(error)
    if "numpy" in text:
        return "write what numpy computes inside the forward with torch operations, or move it out of the model"
    if "specialized integer" in text or "nonzero" in text:
        return "a size depends on the values of a tensor: pad to a fixed size, or export the model without that step"
    return (
        "data-dependent control flow is the usual reason: export the tensor core of the model, "
        "or rewrite the branch with torch.where or torch.cond"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """torch prints and logs the graph that it could not finish; what matters of it is in the error."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _decompose_unknown(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Operations that have no rule are written out in simpler ones, where torch knows how."""
    known = torch.export.default_decompositions().materialize()
    targets = {node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    table = {op: known[op] for op in targets if rule_for(op) is None and op in known}
    return program.run_decompositions(table) if table else program


def _at_least_two(value: Any) -> Any:
    """torch.export takes a batch of one for a constant."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == 1:
        return torch.cat([value, value])
    return value


def _agrees_on_more(graph_module: fx.GraphModule, module: nn.Module, inputs: tuple[Any, ...]) -> bool:
    """Whether the graph also computes a batch twice as large, if the model does: parts of it may be counted in it."""
    more = twice(inputs)
    try:
        reference = _run_forward(module, more)
    except UnsupportedModelError:
        return True
    return _agrees(graph_module, more, reference)


def _agrees(module: fx.GraphModule, inputs: tuple[Any, ...], reference: list[torch.Tensor]) -> bool:
    try:
        outputs = flatten_outputs(module(*copy.deepcopy(inputs)))
    except Exception:  # a graph that does not run at the asked batch size is simply not taken
        return False
    return len(outputs) == len(reference) and all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(outputs, reference, strict=True)
    )
