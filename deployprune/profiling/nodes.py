"""The cost of one node: a sum of terms, and which law of them explains its times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.regression import cross_validated_error, fit_nonnegative
from deployprune.profiling.terms import Sizes, Term

__all__ = ["FittedNode", "Samples", "fit_node", "law_error"]

_CLEARLY = 0.93  # a finer description must bring the cross-validated error below this share of the simpler one's
_LOST = 0.25  # relative error: how far beyond it a law is wrong says nothing of it any more
_RESOLUTION = 1e-3  # ms that profilers tell apart


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedNode:
    """What one node costs in ms: the sum of its terms."""

    name: str
    terms: tuple[Term, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """The channel groups whose widths change the cost."""
        return tuple(dict.fromkeys(name for term in self.terms for form in term.forms for name in form.groups))

    @property
    def constant_ms(self) -> float:
        """What the node costs at any widths."""
        return sum(term.coefficient for term in self.terms if not term.forms)

    def cost_ms(self, widths: dict[str, int]) -> float:
        """Predicted ms at these widths; none where a group is empty, since its residual branch is left out then."""
        if 0 in widths.values() and any(widths[name] == 0 for name in self.groups):
            return 0.0
        return sum(term.value(widths) for term in self.terms)

    def scaled(self, factor: float) -> FittedNode:
        """The node with all its costs times ``factor``."""
        return replace(self, terms=tuple(term.scaled(factor) for term in self.terms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was observed of one node: its ms at each of the runs' sizes, and how precise they are next to each other."""

    name: str
    sizes: Sizes
    ms: NDArray[np.float64]
    precision: NDArray[np.float64] | None = None

    @property
    def observed(self) -> NDArray[np.float64]:
        """The ms, with the profilers' resolution for what they rounded to nothing."""
        return np.maximum(self.ms, _RESOLUTION)


def fit_node(samples: Samples, laws: Sequence[tuple[Term, ...]]) -> FittedNode:
    """The node under the best of ``laws``, simplest first.

    A later law is taken only where it is clearly better than the best one before it, by cross-validation.
    """
    chosen, least = laws[0], law_error(samples, laws[0])
    for terms in laws[1:]:
        error = law_error(samples, terms)
        if error < _CLEARLY * least:
            chosen, least = terms, error
    coefficients = fit_nonnegative(samples.sizes.design(chosen), samples.observed, precision=samples.precision)
    terms = tuple(term.scaled(float(c)) for term, c in zip(chosen, coefficients, strict=True) if c > 0.0)
    return FittedNode(name=samples.name, terms=terms)


def law_error(samples: Samples, terms: Sequence[Term]) -> float:
    """The mean cross-validated relative error of the terms' fit to the samples, each counted as 25 % at most.

    A kernel of its own for some few widths is not explained by any law, and must not choose among them.
    """
    errors = cross_validated_error(samples.sizes.design(terms), samples.observed, samples.precision)
    return float(np.average(np.minimum(np.abs(errors), _LOST), weights=samples.precision))
