"""The proof that runs on every pruning: the pruned model computes what the masked twin computes.

Parameters are drawn anew for it, batch statistics and biases above all, so that nothing is equal by being zero; and it
is checked that the mask changed the output and left it alive, since a check that cannot fail is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from deployprune.graph.capture import flatten_outputs
from deployprune.graph.copying import copy_module
from deployprune.graph.drawing import State, load_state, random_inputs, random_state, tensors_of
from deployprune.graph.removal import Removal, kept_parameters
from deployprune.graph.twin import MaskedTwin
from deployprune.records import Proof

__all__ = ["TOLERANCE", "difference", "prove"]

TOLERANCE = 1e-5
_MORE_TRIALS = 3  # where no draw has shown that the mask changes anything (a last ReLU may be dead)

M = TypeVar("M", bound=nn.Module)
Kept = Mapping[str, Mapping[int, Sequence[int]]]


def prove(
    removal: Removal, pruned: fx.GraphModule, eager: nn.Module | None, *, trials: int = 2, seed: int = 0
) -> Proof:
    """Compare the pruned graph, and the shrunk module where there is one, with the masked twin on random draws.

    The arithmetic is double where the model allows it, so that a difference is a mistake and not rounding.
    """
    worst, changed, product = 0.0, False, "graph" if eager is None else "eager"
    for trial in range(trials + _MORE_TRIALS):
        if trial >= trials and changed:
            break
        for dtype in (torch.float64, torch.float32):
            try:
                gap, moved = _trial(removal, pruned, eager, seed + trial, dtype, compare_dense=not changed)
                break
            except RuntimeError:  # an operation that has no double form
                if dtype is torch.float32:
                    raise
        worst, changed = max(worst, gap), changed or moved
    return Proof(relative_difference=worst, mask_changed_output=changed, product=product, trials=max(trials, trial))


def _trial(
    removal: Removal,
    pruned: fx.GraphModule,
    eager: nn.Module | None,
    seed: int,
    dtype: torch.dtype,
    *,
    compare_dense: bool,
) -> tuple[float, bool]:
    generator = torch.Generator().manual_seed(seed)
    kept = kept_parameters(removal)
    with torch.no_grad(), _lent(_widened(removal.graph.captured.module, dtype)) as dense:
        state = random_state(dense, generator)
        inputs = random_inputs(removal.graph.captured.inputs, generator, dtype)
        expected = flatten_outputs(MaskedTwin(dense, removal).run(*inputs))
        others = random_inputs(removal.graph.captured.inputs, generator, dtype)
        least = 100 * torch.finfo(dtype).eps
        moved = compare_dense and _could_fail(dense, removal, inputs, others, expected, least)
        with _lent(_widened(pruned, dtype)) as copy:
            gap = difference(_run_on(copy, state, kept, inputs), expected)
        if eager is not None:
            gap = max(gap, _eager_gap(eager, pruned, state, kept, inputs, expected))
    return gap, moved


def _could_fail(
    dense: fx.GraphModule,
    removal: Removal,
    inputs: tuple[Any, ...],
    others: tuple[Any, ...],
    expected: list[torch.Tensor],
    least: float,
) -> bool:
    """Whether the mask changes an output, and the masked one is another for ``others``, where inputs can be drawn.

    What comes out of a dead last layer equals whatever else is dead.
    """
    drawn = any(x is not y for x, y in zip(inputs, others, strict=True))
    if drawn and difference(flatten_outputs(MaskedTwin(dense, removal).run(*others)), expected) <= least:
        return False
    return difference(flatten_outputs(dense(*inputs)), expected) > least


@contextmanager
def _lent(module: M) -> Iterator[M]:
    """A copy that is emptied afterwards: graph modules refer to themselves, and are collected late for large models."""
    try:
        yield module
    finally:
        for tensor in tensors_of(module).values():
            tensor.data = tensor.new_empty(0)


def _eager_gap(
    eager: nn.Module,
    pruned: fx.GraphModule,
    state: State,
    kept: Kept,
    inputs: tuple[Any, ...],
    expected: list[torch.Tensor],
) -> float:
    """The user's own module against the twin; where its forward casts to single, against the pruned graph in single."""
    dtype = next(iter(state.values())).dtype
    with _lent(copy_module(eager)) as copy:
        _cast(copy, dtype)
        try:
            return difference(_run_on(copy, state, kept, inputs), expected)
        except RuntimeError:
            if dtype is torch.float32:
                raise
    single = {name: tensor.float() for name, tensor in state.items()}
    narrow = tuple(x.float() if isinstance(x, torch.Tensor) and x.dtype is dtype else x for x in inputs)
    reference = _run_on(copy_module(pruned), single, kept, narrow)
    return difference(_run_on(copy_module(eager), single, kept, narrow), reference)


def _run_on(module: nn.Module, state: State, kept: Kept, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    load_state(module, state, kept)
    return flatten_outputs(module.eval()(*inputs))


def _widened(module: fx.GraphModule, dtype: torch.dtype) -> fx.GraphModule:
    """A copy that computes in ``dtype``, also where the graph casts to single by name."""
    copy = copy_module(module)
    _cast(copy, dtype)
    for node in copy.graph.nodes:
        if any(leaf is torch.float32 for leaf in tree_leaves((node.args, node.kwargs))):
            node.args, node.kwargs = fx.node.map_aggregate(
                (node.args, dict(node.kwargs)), lambda leaf: dtype if leaf is torch.float32 else leaf
            )
    copy.recompile()
    return copy


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring all tensors to ``dtype``; complex ones stay complex, which ``Module.to`` would make real."""
    for tensor in tensors_of(module).values():
        if tensor.is_floating_point() or tensor.is_complex():
            tensor.data = tensor.data.to(dtype.to_complex() if tensor.is_complex() else dtype)


def difference(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> float:
    """The largest absolute difference relative to the largest expected value; infinite where shapes differ."""
    if len(left) != len(right) or any(a.shape != b.shape for a, b in zip(left, right, strict=True)):
        return float("inf")
    worst = 0.0
    for a, b in zip(left, right, strict=True):
        if a.numel():
            gap = (a.double() - b.double()).abs().max() / b.double().abs().max().clamp_min(1e-12)
            worst = max(worst, float("inf") if bool(gap.isnan()) else float(gap))
    return worst
