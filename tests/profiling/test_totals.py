"""Latency on one scale from blocks of variants that were timed at different times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deployprune.profiling.totals import joint_totals, uncertainty

RNG = np.random.default_rng(3)
TRUE = {0: 10.0, 1: 7.0, 2: 5.0, 3: 9.0, 4: 2.0, 5: 6.0}


def blocks_of(*members: tuple[int, ...], spells: tuple[float, ...], noise: float = 0.0) -> list[dict[int, list[float]]]:
    """Five samples of every member and dense, each slowed by its block's spell."""
    return [
        {name: list(TRUE[name] * spell * RNG.lognormal(0.0, noise, 5)) for name in (0, *part)}
        for part, spell in zip(members, spells, strict=True)
    ]


def test_what_a_machine_was_like_for_a_block_cancels_out() -> None:
    found = joint_totals(blocks_of((1, 2, 3), (4, 5), (1, 4), (2, 5, 3), spells=(1.0, 1.3, 0.9, 1.0)))
    assert found == pytest.approx(TRUE)


def test_one_pass_compares_with_dense_alone() -> None:
    found = joint_totals(blocks_of((1, 2), (3, 4, 5), spells=(1.0, 1.0)))
    assert found == pytest.approx(TRUE)


def test_dense_being_unlike_itself_in_one_block_moves_nothing_much() -> None:
    """The pairing with dense alone would make the variants of that block 20 % faster."""
    blocks = blocks_of((1, 2, 3), (4, 5), (1, 4), (2, 5, 3), (1, 5), (2, 3, 4), spells=(1.0,) * 6, noise=0.002)
    blocks[1][0] = [ms * 1.25 for ms in blocks[1][0]]
    found = joint_totals(blocks)
    assert found == pytest.approx(TRUE, rel=0.02)


def test_a_disturbed_variant_is_told_by_its_other_blocks() -> None:
    blocks = blocks_of((1, 2, 3), (4, 5), (1, 4), (2, 5, 3), (1, 5), (2, 3, 4), spells=(1.0,) * 6, noise=0.002)
    blocks[0][1] = [ms * 1.4 for ms in blocks[0][1]]
    assert joint_totals(blocks) == pytest.approx(TRUE, rel=0.02)


def test_totals_are_as_unsure_as_their_blocks_differ() -> None:
    members = ((1, 2, 3, 4, 5),) * 9
    assert uncertainty(blocks_of(*members, spells=(1.0, 1.3, 0.9) * 3)) == pytest.approx(0.0, abs=1e-12)
    steady, noisy = (uncertainty(blocks_of(*members, spells=(1.0,) * 9, noise=noise)) for noise in (0.01, 0.04))
    assert 0.001 < steady < 0.01
    assert noisy == pytest.approx(4 * steady, rel=0.5)


def test_variants_that_were_timed_once_tell_nothing_of_how_sure_they_are() -> None:
    assert uncertainty(blocks_of((1, 2), (3, 4), spells=(1.0, 1.0))) == math.inf
