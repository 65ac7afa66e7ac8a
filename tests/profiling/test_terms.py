"""Dimensions as kernels count them: what the busiest thread has, and conditions of one or of many widths at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployprune.profiling.terms import Condition, Shared, Sizes, Term
from deployprune.records import DimForm

CHANNELS = DimForm(constant=0, terms=((1.0, ("a",)),))


def busiest(size: int, step: int, rows: int, threads: int) -> int:
    """Deal all rows of all sets out, as many to each thread, and add up the channels of each."""
    blocks = -(-size // step) * step
    pieces = [min(4 * step, blocks - start) for start in range(0, blocks, 4 * step) for _ in range(rows)]
    each, more = divmod(len(pieces), threads)
    ends = np.cumsum([each + (thread < more) for thread in range(threads)])
    return max(sum(pieces[start:end]) for start, end in zip((0, *ends[:-1]), ends, strict=True))


@given(st.integers(1, 600), st.sampled_from([4, 8, 16]), st.integers(1, 60), st.integers(2, 8))
def test_the_busiest_thread_has_what_dealing_out_the_rows_of_sets_gives_it(
    size: int, step: int, rows: int, threads: int
) -> None:
    shared = Shared(form=CHANNELS, step=step, rows=rows, threads=threads)
    assert shared.cover(size) == busiest(size, step, rows, threads)


@given(
    st.lists(st.integers(0, 80), min_size=1, max_size=20),
    st.sampled_from([1, 4, 16]),
    st.integers(1, 32),
    st.booleans(),
)
def test_terms_say_the_same_of_one_width_and_of_many(sizes: list[int], alignment: int, least: int, off: bool) -> None:
    condition = Condition(forms=(CHANNELS,), alignment=alignment, least=least, off=off)
    term = Term(coefficient=2.0, factors=(Shared(form=CHANNELS, step=16, rows=7, threads=2),), when=condition)
    rows = [{"a": size} for size in sizes]
    assert Sizes(rows).design([term])[:, 0].tolist() == [term.value(row) for row in rows]
    assert [condition.holds(row) for row in rows] == [(size % alignment > 0 or size < least) == off for size in sizes]
