"""Random legal plans, and the checks that every pruned model must pass."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from torch import Tensor, fx, nn

from deployprune.graph.analysis import GraphAnalysis, PrunedModel
from deployprune.graph.capture import flatten_outputs

TOLERANCE = 1e-5
Plan = dict[str, list[int]]


def random_plan(analysis: GraphAnalysis, seed: int, *, removed: float = 0.3) -> Plan:
    """Around ``removed`` of the units of every group gone, at random, at least one left."""
    draw = random.Random(seed)
    plan = {}
    for group in analysis.record.groups:
        count = max(1, round(group.size * (1 - removed * draw.uniform(0.5, 1.5))))
        plan[group.name] = sorted(draw.sample(range(group.size), count))
    return plan


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def check_proof(pruned: PrunedModel) -> None:
    """The pruned model equals its masked twin, and the mask did something."""
    assert pruned.proof.relative_difference <= TOLERANCE
    assert pruned.proof.mask_changed_output


def check_shapes(analysis: GraphAnalysis, plan: Plan) -> None:
    """The forms of every layer, at the plan's widths, are the shapes that the pruned graph runs with."""
    widths = analysis.record.dense_widths() | {name: len(kept) for name, kept in plan.items()}
    shapes = _Shapes(analysis.prune_shapes(plan))
    with torch.no_grad():
        shapes.run(*analysis.graph.captured.inputs)
    compared = 0
    for layer in analysis.record.layers:
        if layer.name in shapes.seen:
            inputs, output = shapes.seen[layer.name]
            assert tuple(form.size(widths) for form in layer.output) == output, layer.name
            for forms, (real, shape) in zip(layer.inputs, inputs, strict=False):  # indices may have been added
                assert not real or tuple(form.size(widths) for form in forms) == shape, layer.name
            compared += 1
    assert compared > 0


def check_training(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """One training step gives every parameter that it reaches a finite gradient; most are reached."""
    trained = copy.deepcopy(module).train()
    sum(out.float().square().mean() for out in flatten_outputs(trained(*_doubled(inputs)))).backward()
    gradients = [parameter.grad for parameter in trained.parameters()]
    assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)
    assert sum(gradient is not None for gradient in gradients) > len(gradients) / 2


def check_batch(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Another batch size runs, and gives for its first half what the example gave."""
    with torch.no_grad():
        once, twice = flatten_outputs(module(*inputs)), flatten_outputs(module(*_doubled(inputs)))
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(b[: a.shape[0]], a, rtol=1e-3, atol=1e-4)


def _doubled(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(torch.cat([x, x]) if isinstance(x, Tensor) else x for x in inputs)


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes of every call's operands and result."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, tuple[list[tuple[bool, tuple[int, ...]]], tuple[int, ...]]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        first = result[0] if isinstance(result, list | tuple) and result else result
        if n.op == "call_function" and isinstance(first, Tensor):
            values = [self.env[source] for source in n.all_input_nodes]
            self.seen[n.name] = (
                [(v.is_floating_point(), tuple(v.shape)) for v in values if isinstance(v, Tensor)],
                tuple(first.shape),
            )
        return result
