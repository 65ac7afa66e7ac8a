"""Inputs for a session: made from its specs, and checked before the runtime sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deployprune.errors import UsageError
from deployprune.records import InputSpec

__all__ = ["check_feeds", "random_feeds", "shape_at_batch"]


def random_feeds(inputs: tuple[InputSpec, ...], seed: int) -> dict[str, np.ndarray]:
    """Reproducible inputs of the given shapes: normal numbers for floats, zeros for everything else.

    Zeros because an integer input is often an index, and zero is the one index that every table has.
    """
    generator = np.random.default_rng(seed)
    return {
        spec.name: generator.standard_normal(spec.shape).astype(spec.dtype)
        if np.issubdtype(np.dtype(spec.dtype), np.floating)
        else np.zeros(spec.shape, spec.dtype)
        for spec in inputs
    }


def check_feeds(inputs: tuple[InputSpec, ...], feeds: dict[str, np.ndarray]) -> None:
    """Raise UsageError unless ``feeds`` has exactly these names, shapes and dtypes."""
    names = [spec.name for spec in inputs]
    if set(names) != set(feeds):
        raise UsageError(
            f"the model's inputs are {', '.join(names)}, but {', '.join(sorted(feeds)) or 'nothing'} was given",
            hint="give one array for every input, under the input's own name",
        )
    for spec in inputs:
        given = feeds[spec.name]
        if given.shape != spec.shape or given.dtype != np.dtype(spec.dtype):
            raise UsageError(
                f"input {spec.name!r} must be {spec.dtype}{list(spec.shape)}, not {given.dtype}{list(given.shape)}",
                hint="give arrays of the shape and dtype that the file was opened with",
            )


def shape_at_batch(path: Path, name: str, declared: tuple[int | None, ...], batch: int) -> tuple[int, ...]:
    """The shape of input ``name`` of ``path`` at ``batch``, where None stands for a dynamic dimension.

    A file with a fixed batch keeps its own shape at batch 1, and at any batch that is its own. Raises UsageError when
    its batch is fixed at another value, or when another dimension is dynamic.
    """
    if None in declared[1:]:
        raise UsageError(
            f"input {name!r} of {path} has a dynamic dimension {declared.index(None, 1)}",
            hint="only the batch may be dynamic: export the model with fixed sizes elsewhere",
        )
    shape = tuple(batch if size is None else size for size in declared)
    if batch != 1 and (not shape or shape[0] != batch):
        raise UsageError(
            f"input {name!r} of {path} has the fixed shape {list(shape)}, which is not batch {batch}",
            hint="ask for the batch that the file has, or export it at the batch you need",
        )
    return shape
