"""A sparse mixed-integer linear program, built variable by variable and row by row, and solved by HiGHS."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

__all__ = ["LinearProgram", "Part"]

Part = tuple[NDArray[np.intp], NDArray[np.float64]]
"""Columns and their coefficients: one part of a row."""

_STANDARD_OUTPUT = 1
_NODE_LIMIT = 2000  # branch-and-bound nodes: unlike a time limit, it stops at the same place on every machine
_RELATIVE_GAP = 1e-3
_EXACT_BELOW = 1500  # variables: smaller programs are solved to the optimum


class LinearProgram:
    """Minimise a linear cost over bounded, partly integral variables under two-sided linear constraints."""

    def __init__(self) -> None:
        self._costs: list[NDArray[np.float64]] = []
        self._bounds: list[tuple[int, float, float, bool]] = []
        self._rows: list[Sequence[Part]] = []
        self._limits: list[tuple[float, float]] = []
        self._count = 0

    def variables(
        self, costs: NDArray[np.float64], *, lower: float = 0.0, upper: float = np.inf, integral: bool = False
    ) -> NDArray[np.intp]:
        """New variables with these costs; their columns. Integral ones are binary."""
        columns = np.arange(self._count, self._count + len(costs), dtype=np.intp)
        self._costs.append(np.asarray(costs, dtype=np.float64))
        self._bounds.append((len(costs), lower, 1.0 if integral else upper, integral))
        self._count += len(costs)
        return columns

    def constrain(self, parts: Sequence[Part], low: float, high: float) -> None:
        """Demand ``low <= sum of the parts <= high``."""
        self._rows.append(parts)
        self._limits.append((low, high))

    def minimize(self, time_limit_s: float) -> tuple[NDArray[np.float64] | None, float]:
        """The best values found (None where there are none) and a lower bound of the cost of any."""
        counts = [count for count, *_ in self._bounds]
        lower, upper, integral = (np.repeat([bound[i] for bound in self._bounds], counts) for i in (1, 2, 3))
        low, high = np.array(self._limits).T
        with _silenced():
            result = milp(
                np.concatenate(self._costs),
                integrality=integral.astype(np.uint8),
                bounds=Bounds(lower, upper),
                constraints=LinearConstraint(self._matrix(), low, high),
                options={
                    "time_limit": time_limit_s,
                    "node_limit": _NODE_LIMIT,
                    "mip_rel_gap": 0.0 if self._count < _EXACT_BELOW else _RELATIVE_GAP,
                },
            )
        bound = result.mip_dual_bound
        return result.x, -np.inf if bound is None else float(bound)

    def _matrix(self) -> csr_array:
        parts = [(row, *part) for row, members in enumerate(self._rows) for part in members]
        rows = np.repeat([row for row, _, _ in parts], [len(columns) for _, columns, _ in parts])
        columns = np.fromiter(itertools.chain.from_iterable(part[1] for part in parts), dtype=np.intp)
        values = np.fromiter(itertools.chain.from_iterable(part[2] for part in parts), dtype=np.float64)
        return csr_array((values, (rows, columns)), shape=(len(self._rows), self._count))


@contextmanager
def _silenced() -> Iterator[None]:
    """Send the process's standard output to nowhere: HiGHS prints a line of its own in rare cases, whatever its options
    say, and commands promise to print records and nothing else there."""
    sys.stdout.flush()
    kept = os.dup(_STANDARD_OUTPUT)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STANDARD_OUTPUT)
        yield
    finally:
        os.dup2(kept, _STANDARD_OUTPUT)
        os.close(kept)
        os.close(nowhere)
