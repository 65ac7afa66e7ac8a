"""What a model needs as a function of its widths: sums of products of dimensions, in the form that planning takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deployprune.records import DimForm

__all__ = ["Count", "Products", "count_products"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """The products that depend on the same groups, each with its coefficient (a :class:`records.CostNode`)."""

    name: str
    groups: tuple[str, ...]
    terms: tuple[tuple[float, tuple[DimForm, ...]], ...]

    def cost_ms(self, widths: dict[str, int]) -> float:
        """Their sum at these widths, in the unit that is counted."""
        return sum(scale * math.prod(form.size(widths) for form in forms) for scale, forms in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A number of something (a :class:`records.LatencyModel` whose unit is that thing, and not ms)."""

    nodes: tuple[Products, ...]
    constant_ms: float

    def predict_ms(self, widths: dict[str, int]) -> float:
        """The number at these widths."""
        return self.constant_ms + sum(node.cost_ms(widths) for node in self.nodes)


def count_products(shapes: Iterable[Sequence[DimForm]], each: float = 1.0) -> Count:
    """``each`` times the sum of all shapes' products."""
    terms: dict[tuple[str, ...], list[tuple[float, tuple[DimForm, ...]]]] = defaultdict(list)
    constant = 0.0
    for shape in shapes:
        scale = each * math.prod(form.constant for form in shape if not form.groups)
        forms = tuple(form for form in shape if form.groups)
        groups = tuple(sorted({group for form in forms for group in form.groups}))
        if groups:
            terms[groups].append((scale, forms))
        else:
            constant += scale
    nodes = (Products(name="+".join(groups), groups=groups, terms=tuple(found)) for groups, found in terms.items())
    return Count(nodes=tuple(nodes), constant_ms=constant)
