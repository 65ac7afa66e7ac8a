"""How important every unit is, on one scale for all groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

import numpy as np
from torch import nn

from deployprune.errors import UsageError
from deployprune.pruning.criteria import CRITERIA, Criterion, Evidence, Scores
from deployprune.records import ChannelGroup

__all__ = ["available_criteria", "get_criterion", "score"]

_ENTRY_POINTS = "deployprune.criteria"


def available_criteria() -> tuple[str, ...]:
    """The names of the built-in criteria, and of those that installed packages add."""
    return tuple(dict.fromkeys((*CRITERIA, *(point.name for point in entry_points(group=_ENTRY_POINTS)))))


def get_criterion(name: str) -> Criterion:
    """The criterion of that name: built in, or a :class:`Criterion` that a package's entry point names.

    Raises UsageError for a name that nobody offers, or an entry point that is no Criterion.
    """
    if name in CRITERIA:
        return CRITERIA[name]
    point = next((point for point in entry_points(group=_ENTRY_POINTS) if point.name == name), None)
    found = point.load() if point is not None else None
    if not isinstance(found, Criterion):
        raise UsageError(
            f"there is no importance criterion {name!r}", hint="choose one of " + ", ".join(available_criteria())
        )
    return found


def score(
    criterion: str, module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence | None = None
) -> Scores:
    """``group -> importances`` (float64, one >= 0 a unit), comparable across groups.

    Criteria with a scale of their own (taylor, sensitivity) are taken as they are. The others say nothing across
    layers, whose weights differ in size by initialisation and normalisation: their groups are divided by their mean
    importance, the usual choice (DepGraph, Fang et al. 2023), so that a unit of mean importance is worth the same
    everywhere.
    Raises UsageError for an unknown criterion, one that lacks data, or one that returns anything but such numbers.
    """
    chosen = get_criterion(criterion)
    scores = chosen.score(module, groups, evidence or Evidence())
    _check(criterion, scores, groups)
    if chosen.comparable:
        return scores
    return {name: values / mean if (mean := float(values.mean())) > 0.0 else values for name, values in scores.items()}


def _check(criterion: str, scores: Mapping[str, np.ndarray], groups: Sequence[ChannelGroup]) -> None:
    for group in groups:
        values = scores.get(group.name)
        if values is None or values.shape != (group.size,) or not np.isfinite(values).all() or (values < 0.0).any():
            raise UsageError(
                f"criterion {criterion!r} did not give {group.size} finite numbers >= 0 for group {group.name!r}",
                hint="are there NaN or infinite weights or gradients in the model?",
            )
