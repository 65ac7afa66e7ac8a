"""Variants cover the widths that plans use, and some that they should not."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import group

from deployprune.profiling.table import choose_probes, choose_variants
from deployprune.records import ChannelGroup

GROUPS = st.builds(
    lambda size, minimum, step: (size * step, min(minimum, size) * step, step),
    st.integers(1, 300),
    st.integers(1, 8),
    st.sampled_from([1, 1, 2, 4]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=8), st.integers(1, 30), st.integers(0, 5))
def test_every_variant_is_legal_and_new(shapes: list[tuple[int, int, int]], count: int, seed: int) -> None:
    groups = [group(f"g{i}", size, minimum, step) for i, (size, minimum, step) in enumerate(shapes)]
    variants = choose_variants(groups, count, seed)
    assert variants[0] == {g.name: g.size for g in groups}
    assert len(variants) <= count
    assert len({tuple(v.items()) for v in variants}) == len(variants)
    for widths in variants:
        assert list(widths) == [g.name for g in groups]
        assert all(g.minimum <= widths[g.name] <= g.size for g in groups)
        assert all(widths[g.name] == g.size or widths[g.name] % g.step == 0 for g in groups)
    assert variants == choose_variants(groups, count, seed)


def test_widths_are_where_plans_are_made_and_some_are_not() -> None:
    groups = [group("a", 64), group("b", 128), group("c", 256)]
    variants = choose_variants(groups, 28, 0)
    assert len(variants) == 28
    aligned = [all(width % 8 == 0 for width in widths.values()) for widths in variants]
    assert 10 <= aligned.count(False) <= 16


def test_each_group_covers_its_range_on_its_own_and_all_shrink_together() -> None:
    groups = [group(f"g{i}", 128) for i in range(6)]
    variants = choose_variants(groups, 28, 0)
    for g in groups:
        widths = sorted(variant[g.name] for variant in variants)
        assert widths[0] <= 24
        assert widths[-1] == 128
        assert max(b - a for a, b in itertools.pairwise(widths)) <= 32
    assert any(max(variant.values()) <= 24 for variant in variants)


def test_a_group_of_heads_is_drawn_head_by_head() -> None:
    units = tuple({"w": {0: tuple(range(64 * i, 64 * i + 64))}} for i in range(12))
    heads = ChannelGroup(name="h", kind="head", size=12, axes=(), units=units, parameters=0, macs=0)
    assert heads.channels_per_unit == 64
    assert heads.aligned_step(16) == 1
    assert len({variant["h"] for variant in choose_variants([heads], 8, 0)}) == 8


def test_stops_where_a_group_has_no_more_widths() -> None:
    assert choose_variants([group("only", 2, minimum=2)], 10, 0) == [{"only": 2}]


@settings(max_examples=40, deadline=None)
@given(st.lists(GROUPS, min_size=1, max_size=8), st.integers(1, 7), st.integers(0, 5))
def test_every_probe_is_legal(shapes: list[tuple[int, int, int]], count: int, seed: int) -> None:
    groups = [group(f"g{i}", size, minimum, step) for i, (size, minimum, step) in enumerate(shapes)]
    probes = choose_probes(groups, count, seed)
    assert len(probes) == count
    for widths in probes:
        assert list(widths) == [g.name for g in groups]
        assert all(g.minimum <= widths[g.name] <= g.size for g in groups)
        assert all(widths[g.name] == g.size or widths[g.name] % g.step == 0 for g in groups)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 5))
def test_few_probes_tell_groups_of_one_size_apart(size: int, count: int, seed: int) -> None:
    """DenseNet has more groups of 32 channels than there are widths of 32 channels, and DeiT 12 groups of 3 heads."""
    groups = [group(f"g{i}", size) for i in range(count)]
    needed = next(number for number in range(1, 8) if size**number > count)
    probes = choose_probes(groups, 6, seed)[:needed]
    taken = {tuple(probe[g.name] for probe in probes) for g in groups}
    assert len(taken) == count
    assert (size,) * needed not in taken
