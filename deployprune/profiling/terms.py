"""What costs are sums of: products of dimensions, as staircases or in tiles, on or off an alignment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deployprune.records import DimForm

__all__ = [
    "CONSTANT",
    "Condition",
    "Factor",
    "Shared",
    "Sizes",
    "Stairs",
    "Term",
    "Tiles",
    "products",
    "shared",
    "stairs",
]

Size = TypeVar("Size", int, NDArray[np.int64])

_BLOCKS = 4  # of a set, whose outputs a kernel of ONNX Runtime's MLAS computes at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Whether any of ``forms`` is no multiple of ``alignment`` channels or has fewer than ``least`` (``off``), or none.

    With ``beside``, only where all of these are multiples: at the border between what is aligned and what is not.
    """

    forms: tuple[DimForm, ...]
    alignment: int
    off: bool
    beside: tuple[DimForm, ...] = ()
    least: int = 0

    def holds(self, widths: dict[str, int]) -> bool:
        """Whether it holds at these widths."""
        if any(form.size(widths) % self.alignment for form in self.beside):
            return False
        sizes = [form.size(widths) for form in self.forms]
        return any(size % self.alignment or size < self.least for size in sizes) == self.off


@dataclass(frozen=True, slots=True, kw_only=True)
class Stairs:
    """A dimension rounded up to ``step`` channels: a staircase."""

    form: DimForm
    step: int = 1

    def cover(self, size: Size) -> Size:
        """The channels that count where the dimension is ``size``."""
        return -(-size // self.step) * self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The part of a dimension that tiles of ``step`` channels cover, after larger ones (``within``) took what they can.

    Kernels that work in tiles of 16, 8, 4, 2 and 1 channels cover 30 channels with one of each but the last.
    """

    form: DimForm
    step: int
    within: int | None = None

    def cover(self, size: Size) -> Size:
        """The channels in these tiles where the dimension is ``size``."""
        left = size if self.within is None else size % self.within
        return left // self.step * self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A dimension as the busiest of ``threads`` has it, where all get as many pieces of work, however small.

    A piece is one of the ``rows`` of a set of four blocks of ``step`` channels, or of what the last set has. Up to one
    set threads so share all there is alike; from then on the busiest one has rows of whole sets alone.
    """

    form: DimForm
    step: int
    rows: int
    threads: int

    def cover(self, size: Size) -> Size:
        """The channels of all its rows together, where the dimension is ``size``."""
        whole = _BLOCKS * self.step
        sets = -(-size // whole)
        pieces = -(-sets * self.rows // self.threads)
        only = -(-size // self.step) * self.step
        return pieces * (only + (size > whole) * (whole - only))


Factor = Stairs | Tiles | Shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``coefficient * product(factors)``; nothing where the condition ``when`` does not hold: a cliff."""

    coefficient: float = 1.0
    factors: tuple[Factor, ...] = ()
    when: Condition | None = None

    def value(self, widths: dict[str, int]) -> float:
        """The term at these widths."""
        if self.when is not None and not self.when.holds(widths):
            return 0.0
        total = self.coefficient
        for factor in self.factors:
            total *= factor.cover(factor.form.size(widths))
        return total

    def scaled(self, factor: float) -> Term:
        """The term times ``factor``."""
        return replace(self, coefficient=self.coefficient * factor)

    @property
    def forms(self) -> tuple[DimForm, ...]:
        """The dimensions that the term depends on."""
        watched = (*self.when.forms, *self.when.beside) if self.when is not None else ()
        return (*(factor.form for factor in self.factors), *watched)


CONSTANT = Term()


def stairs(shape: Sequence[DimForm], step: int) -> tuple[Factor, ...]:
    """A shape as factors, each dimension rounded up to ``step`` channels."""
    return tuple(Stairs(form=form, step=step) for form in shape)


def shared(shape: Sequence[DimForm], step: int, threads: int) -> tuple[Factor, ...]:
    """A shape as factors, those that widths change as the busiest thread has them; rows are of (N, C, H, W)."""
    rows = shape[2].constant if len(shape) == 4 and not shape[2].groups else 1
    return tuple(
        Shared(form=form, step=step, rows=rows, threads=threads) if form.groups else Stairs(form=form) for form in shape
    )


def products(shapes: Sequence[Sequence[Factor]]) -> tuple[Term, ...]:
    """A term a shape, with what no width changes in the coefficient; shapes that nothing changes are left out."""
    terms = []
    for shape in shapes:
        scale = math.prod(factor.form.constant for factor in shape if not factor.form.groups)
        factors = tuple(factor for factor in shape if factor.form.groups)
        if factors and scale:
            terms.append(Term(coefficient=float(scale), factors=factors))
    return tuple(dict.fromkeys(terms))


class Sizes:
    """Many widths at once: dimensions and terms as columns of numbers, one a row of widths."""

    def __init__(self, widths: Sequence[dict[str, int]]) -> None:
        self.widths = widths
        self._known: dict[DimForm, NDArray[np.int64]] = {}

    def of(self, form: DimForm) -> NDArray[np.int64]:
        """The dimension's sizes."""
        if form not in self._known:
            self._known[form] = np.array([form.size(row) for row in self.widths], dtype=np.int64)
        return self._known[form]

    def holds(self, condition: Condition) -> NDArray[np.bool_]:
        """Where the condition holds."""
        off = self._any_off(condition.forms, condition.alignment, condition.least)
        return (off if condition.off else ~off) & ~self._any_off(condition.beside, condition.alignment)

    def _any_off(self, forms: Sequence[DimForm], alignment: int, least: int = 0) -> NDArray[np.bool_]:
        off = np.zeros(len(self.widths), dtype=bool)
        for form in forms:
            off |= (self.of(form) % alignment != 0) | (self.of(form) < least)
        return off

    def design(self, terms: Sequence[Term]) -> NDArray[np.float64]:
        """The terms' values, rows of widths x terms."""
        columns = []
        for term in terms:
            column = np.full(len(self.widths), term.coefficient)
            for factor in term.factors:
                column *= factor.cover(self.of(factor.form))
            columns.append(column if term.when is None else column * self.holds(term.when))
        return np.column_stack(columns) if columns else np.zeros((len(self.widths), 0))
