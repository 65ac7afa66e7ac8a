"""The cost of one node: a staircase on the runtime's alignment, and another law off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.features import Term, misaligned
from deployprune.profiling.regression import cross_validated_error, fit_nonnegative
from deployprune.records import DimForm

__all__ = ["FittedNode", "Samples", "fit_node"]

_FEWEST = 5  # runs from which a law of its own is fitted off the alignment
_CLEARLY = 0.93  # a finer description must bring the cross-validated error below this share of the simpler one's


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNode:
    """What one node costs in ms: ``aligned`` where all ``watched`` dimensions are multiples of ``alignment``
    channels, ``unaligned`` otherwise."""

    name: str
    aligned: tuple[Term, ...]
    unaligned: tuple[Term, ...]
    watched: tuple[DimForm, ...]
    alignment: int = 1

    @property
    def groups(self) -> tuple[str, ...]:
        """The channel groups whose widths change the cost."""
        forms = [form for term in (*self.aligned, *self.unaligned) for form, _ in term.factors]
        forms += self.watched if self.alignment > 1 else ()
        return tuple(dict.fromkeys(name for form in forms for name in form.groups))

    @property
    def constant_ms(self) -> float:
        """What the node costs on the alignment at any widths."""
        return sum(term.coefficient for term in self.aligned if not term.factors)

    def off(self, widths: dict[str, int]) -> bool:
        """Whether the node runs off its alignment at these widths."""
        return misaligned(self.watched, widths, self.alignment)

    def cost_ms(self, widths: dict[str, int]) -> float:
        """Predicted ms at these widths."""
        return sum(term.value(widths) for term in (self.unaligned if self.off(widths) else self.aligned))

    def scaled(self, factor: float) -> FittedNode:
        """The node with all its costs times ``factor``."""
        return replace(
            self,
            aligned=tuple(term.scaled(factor) for term in self.aligned),
            unaligned=tuple(term.scaled(factor) for term in self.unaligned),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was observed of one node: its ms at each of the runs' widths."""

    name: str
    widths: Sequence[dict[str, int]]
    ms: NDArray[np.float64]


def fit_node(samples: Samples, laws: Sequence[tuple[tuple[Term, ...], int]]) -> tuple[FittedNode, float]:
    """The node under the best of ``laws`` (terms, alignment), simplest first, and its cross-validated relative error.

    A later law is taken only where it is clearly better than the best one before it.
    """
    chosen: tuple[float, tuple[Term, ...], int] | None = None
    for terms, alignment in laws:
        error = _law_error(samples, terms, alignment)
        if chosen is None or error < _CLEARLY * chosen[0]:
            chosen = (error, terms, alignment)
    if chosen is None:
        raise ValueError("fit_node needs at least one law")
    error, terms, alignment = chosen
    return _fit_law(samples, terms, alignment), error


def _watched(terms: Sequence[Term]) -> tuple[DimForm, ...]:
    return tuple(dict.fromkeys(form for term in terms for form, _ in term.factors))


def _design(samples: Samples, terms: Sequence[Term]) -> NDArray[np.float64]:
    return np.array([[term.value(widths) for term in terms] for widths in samples.widths])


def _off(samples: Samples, terms: Sequence[Term], alignment: int) -> NDArray[np.bool_]:
    watched = _watched(terms)
    return np.array([misaligned(watched, widths, alignment) for widths in samples.widths], dtype=bool)


def _regimes(off: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The runs that each law is fitted on; one law for all where there are too few on either side."""
    if min(off.sum(), (~off).sum()) < _FEWEST:
        return [np.ones(len(off), dtype=bool)]
    return [~off, off]


def _law_error(samples: Samples, terms: Sequence[Term], alignment: int) -> float:
    observed = _observed(samples)
    design = _design(samples, terms)
    errors = [cross_validated_error(design[runs], observed[runs]) for runs in _regimes(_off(samples, terms, alignment))]
    return float(np.abs(np.concatenate(errors)).mean())


def _fit_law(samples: Samples, terms: Sequence[Term], alignment: int) -> FittedNode:
    observed, design = _observed(samples), _design(samples, terms)
    regimes = _regimes(_off(samples, terms, alignment))
    laws = [_weighted(terms, fit_nonnegative(design[runs], observed[runs])) for runs in regimes]
    split = len(laws) == 2
    watched = _watched(terms) if split else ()
    return FittedNode(
        name=samples.name, aligned=laws[0], unaligned=laws[-1], watched=watched, alignment=alignment if split else 1
    )


def _weighted(terms: Sequence[Term], coefficients: NDArray[np.float64]) -> tuple[Term, ...]:
    return tuple(term.scaled(float(c)) for term, c in zip(terms, coefficients, strict=True) if c > 0.0)


def _observed(samples: Samples) -> NDArray[np.float64]:
    """The node's ms, with a thousandth (the profilers' resolution) for what they rounded to nothing."""
    return np.maximum(samples.ms, 1e-3)
