"""Which function of the group widths is a dimension that a runtime reports?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployprune.records import Analysis, DimForm

__all__ = ["DimIndex", "constant_form"]

_PADDINGS = (4, 8, 16, 32)  # channels that blocked layouts pad a dimension to


def constant_form(size: int) -> DimForm:
    """The form of a dimension that no width changes."""
    return DimForm(constant=size)


class DimIndex:
    """Finds the analysis' dimension form behind the sizes that one dimension took in all runs.

    A size equals its form's, or is that padded to a layout's block: a runtime that keeps channels in blocks of 16
    reports 32 for 24 channels in one variant, and 21 for 21 in another where it left that layout. Of several forms
    that fit, the one that is met exactly most often is taken. Failing that, a form times a constant (flattened images).
    Without ``paddings`` sizes are taken as they are, such as those in a file, and what several forms explain is not
    explained: more runs must tell them apart.
    """

    def __init__(
        self, analysis: Analysis, widths: Sequence[dict[str, int]], paddings: Sequence[int] = _PADDINGS
    ) -> None:
        shapes = [shape for layer in analysis.layers for shape in (*layer.inputs, layer.output, layer.reduced)]
        forms = dict.fromkeys(form for shape in shapes for form in shape if form.groups)
        single = [DimForm(constant=0, terms=((1.0, (group.name,)),)) for group in analysis.groups]
        self._forms = tuple(dict.fromkeys((*forms, *single)))
        self._sizes = np.array([[form.size(row) for row in widths] for form in self._forms], dtype=np.int64)
        self._paddings = tuple(paddings)
        self._known: dict[tuple[int, ...], DimForm | None] = {}

    def find(self, sizes: Sequence[int]) -> DimForm | None:
        """The form that has these sizes, run by run, or None where no form of the analysis explains them."""
        key = tuple(sizes)
        if key not in self._known:
            self._known[key] = self._search(np.array(key, dtype=np.int64))
        return self._known[key]

    def _search(self, sizes: NDArray[np.int64]) -> DimForm | None:
        if (sizes == sizes[0]).all():
            return constant_form(int(sizes[0]))
        if not self._forms:
            return None
        exact = self._sizes == sizes
        padded = exact.copy()
        for block in self._paddings:
            padded |= -(-self._sizes // block) * block == sizes
        fitting = padded.all(axis=1)
        if fitting.any():
            best = int(np.argmax(np.where(fitting, exact.sum(axis=1), -1)))
            return None if self._is_unsure(fitting) else self._forms[best]
        multiples = (self._sizes * sizes[0] == self._sizes[:, :1] * sizes).all(axis=1)
        if not multiples.any() or self._is_unsure(multiples):
            return None
        row = int(np.argmax(multiples))
        return _scaled(self._forms[row], sizes[0] / self._sizes[row, 0])

    def _is_unsure(self, fitting: NDArray[np.bool_]) -> bool:
        """Whether forms of different groups fit sizes that are as they are."""
        groups = {frozenset(self._forms[index].groups) for index in np.flatnonzero(fitting)}
        return not self._paddings and len(groups) > 1


def _scaled(form: DimForm, factor: float) -> DimForm | None:
    constant = form.constant * factor
    if constant != round(constant):
        return None
    return DimForm(constant=round(constant), terms=tuple((scale * factor, names) for scale, names in form.terms))
