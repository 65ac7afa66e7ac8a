"""Measured curves become importances whose sums are the damages that were measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import made_up_models as made_up
import numpy as np
import pytest
from torch import nn

from deployprune.errors import UsageError
from deployprune.pruning.candidates import kept_units
from deployprune.pruning.importance import score
from deployprune.pruning.sensitivity import SHARES, sensitivities

GROUPS = [made_up.group("wide", 64), made_up.group("narrow", 12)]
ORDER = made_up.importances(GROUPS)


def counted(law: Callable[[float], float]) -> tuple[Callable[[str, Sequence[int]], float], list[tuple[str, int]]]:
    """A damage that is ``law`` of the share that goes, and the calls of it."""
    sizes = {group.name: group.size for group in GROUPS}
    calls: list[tuple[str, int]] = []

    def damage(group: str, kept: Sequence[int]) -> float:
        calls.append((group, len(kept)))
        return law(1 - len(kept) / sizes[group]) * (3.0 if group == "narrow" else 1.0)

    return damage, calls


def lost(values: np.ndarray, width: int) -> float:
    """What all but the best ``width`` units are worth."""
    return float(np.sort(values)[: len(values) - width].sum())


def test_sums_of_importances_are_the_damages_on_one_scale() -> None:
    found = sensitivities(GROUPS, ORDER, counted(lambda share: 0.1 * share + 2 * share**2)[0])
    for name, size, scale in (("wide", 64, 1.0), ("narrow", 12, 3.0)):
        for share in SHARES:
            gone = 1 - share
            expected = scale * (0.1 * gone + 2 * gone**2)
            assert lost(found[name], round(share * size)) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("law", [lambda s: s**3, lambda s: min(s, 0.3), lambda s: 0.0, lambda s: 0.2 - s / 10])
def test_units_go_in_the_order_that_was_given(law: Callable[[float], float]) -> None:
    found = sensitivities(GROUPS, ORDER, counted(law)[0])
    for group in GROUPS:
        values = found[group.name]
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        if values.any():
            for width in range(1, group.size):
                assert kept_units(values, width) == kept_units(ORDER[group.name], width)


def test_only_kept_units_are_asked_for_and_few_times() -> None:
    damage, calls = counted(lambda share: share)
    sensitivities(GROUPS, ORDER, damage)
    assert calls == [("wide", 48), ("wide", 32), ("wide", 16), ("narrow", 9), ("narrow", 6), ("narrow", 3)]


def test_the_best_units_are_those_that_are_kept_when_measuring() -> None:
    seen: dict[int, Sequence[int]] = {}

    def damage(group: str, kept: Sequence[int]) -> float:
        seen[len(kept)] = kept
        return 1.0

    sensitivities(GROUPS[:1], ORDER, damage)
    assert tuple(seen[16]) == kept_units(ORDER["wide"], 16)


def test_tiny_groups_have_importances_too() -> None:
    groups = [made_up.group("one", 1), made_up.group("two", 2)]
    found = sensitivities(groups, made_up.importances(groups), lambda group, kept: 0.5)
    assert [len(found[group.name]) for group in groups] == [1, 2]
    assert found["two"].sum() == pytest.approx(1.0, rel=0.01)


def test_without_data_the_criterion_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="no data") as caught:
        score("sensitivity", nn.Linear(2, 2), GROUPS)
    assert "l2" in str(caught.value.hint)
