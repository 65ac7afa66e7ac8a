"""A file's outputs, through its own runtime, against those of the eager model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from deployprune.backends.base import Session
from deployprune.errors import ParityError
from deployprune.export.reference import evaluation_copy, named_outputs
from deployprune.records import InputSpec, ParityResult

__all__ = ["check_parity", "require_parity"]


def check_parity(
    session: Session,
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    artifact: str,
    backend: str,
    tolerance: float = 1e-4,
    seed: int = 0,
    trials: int = 3,
) -> ParityResult:
    """Compare ``session`` with ``module`` (in evaluation mode) on the example and on random inputs like it.

    Inputs take the batch that the session was opened with: open one at another batch to check that batch too.
    A difference is relative to the largest value of its output (3e-2 is a fair ``tolerance`` for bf16).
    Raises ParityError when the two cannot be compared: other outputs or shapes, or a model without a finite output.
    """
    reference = evaluation_copy(module)
    absolute = relative = 0.0
    for inputs in islice(_trial_inputs(example_inputs, session.inputs, seed), trials):
        with torch.inference_mode():
            expected = {name: tensor.cpu() for name, tensor in named_outputs(reference(*inputs)).items()}
        feeds = {spec.name: tensor.numpy() for spec, tensor in zip(session.inputs, inputs, strict=True)}
        actual = session.run(feeds)
        if len(actual) != len(expected):
            raise ParityError(f"{artifact} has {len(actual)} outputs on {backend}, the model {len(expected)}")
        for (name, tensor), values in zip(expected.items(), actual, strict=True):
            where = f"output {name!r} of {artifact} on {backend}"
            difference, scale = _difference(tensor.to(torch.float64).numpy(), np.asarray(values, np.float64), where)
            absolute = max(absolute, difference)
            relative = max(relative, difference / scale if scale else difference)
    return ParityResult(
        artifact=artifact, backend=backend, max_absolute=absolute, max_relative=relative, tolerance=tolerance
    )


def require_parity(result: ParityResult) -> ParityResult:
    """``result`` itself when it is within its tolerance. Raises ParityError otherwise."""
    if not result.ok:
        raise ParityError(
            f"{result.artifact} differs from the model by {result.max_relative:.1e} on {result.backend}"
            f" (tolerance {result.tolerance:.0e})",
            hint="report it with the model if the tolerance is fair for the target's precision",
        )
    return result


def _difference(expected: np.ndarray, actual: np.ndarray, where: str) -> tuple[float, float]:
    """The largest absolute difference, and the largest value it is to be seen against."""
    if expected.shape != actual.shape:
        raise ParityError(f"{where} has shape {actual.shape}, not {expected.shape}")
    finite = np.isfinite(expected)
    if not finite.any():
        raise ParityError(f"{where} cannot be checked: the model itself gives no finite value")
    if not np.array_equal(expected[~finite], actual[~finite], equal_nan=True) or not np.isfinite(actual[finite]).all():
        return sys.float_info.max, 1.0  # finite, for a record is JSON
    return float(np.abs(expected[finite] - actual[finite]).max()), float(np.abs(expected[finite]).max())


def _trial_inputs(
    example_inputs: tuple[Tensor, ...], specs: tuple[InputSpec, ...], seed: int
) -> Iterator[tuple[Tensor, ...]]:
    """The example, then random inputs without end, all with the specs' batch."""
    if len(specs) != len(example_inputs):
        raise ParityError(f"the file has {len(specs)} inputs, the model {len(example_inputs)}")
    pairs = list(zip(example_inputs, specs, strict=True))
    yield tuple(_with_batch(example.detach().cpu(), spec) for example, spec in pairs)
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield tuple(_random_like(example.detach().cpu(), spec, generator) for example, spec in pairs)


def _with_batch(example: Tensor, spec: InputSpec) -> Tensor:
    if tuple(example.shape) == spec.shape:
        return example.contiguous()
    rows = torch.arange(spec.shape[0]) % example.shape[0]
    return example[rows]


def _random_like(example: Tensor, spec: InputSpec, generator: torch.Generator) -> Tensor:
    """Numbers of the example's mean and spread; for integers and flags, from its own range."""
    if example.is_floating_point():
        spread, centre = torch.std_mean(example.float(), correction=0)
        values = torch.randn(spec.shape, generator=generator) * (spread if spread > 0 else 1.0) + centre
        return values.to(example.dtype)
    low, high = int(example.min()), int(example.max())
    return torch.randint(low, high + 1, spec.shape, generator=generator).to(example.dtype)
