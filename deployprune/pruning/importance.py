"""How important every unit is, on one scale for all groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deployprune.errors import UsageError
from deployprune.pruning.criteria import CRITERIA, Criterion, Evidence, Scores
from deployprune.records import ChannelGroup

__all__ = ["available_criteria", "get_criterion", "require_criterion", "score"]

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


def require_criterion(name: str, *, has_data: bool) -> None:
    """Check, before anything is measured, that a criterion (or ``auto``) is there and has the data that it needs.

    Raises UsageError where not.
    """
    if name != "auto" and get_criterion(name).needs_data and not has_data:
        raise UsageError(f"the {name} criterion needs data", hint="give some with --data, or choose the criterion l2")


def score(
    criterion: str, module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence | None = None
) -> Scores:
    """``group -> importances`` (float64, one >= 0 a unit), comparable across groups.

    Criteria with a scale of their own (taylor, sensitivity) are taken as they are. The others say nothing across
    layers, whose weights differ in size by initialisation and normalisation: every group is worth the number of weights
    that it runs along, shared out among its units. Those weights stand in series, each of them loses the share that
    goes, and shares multiply (the planner's loss is their logarithm; LAMP, Lee et al. 2021, weighs weights alike).
    Raises UsageError for an unknown criterion, one that lacks data, or one that returns anything but such numbers.
    """
    chosen = get_criterion(criterion)
    scores = chosen.score(module, groups, evidence or Evidence())
    _check(criterion, scores, groups)
    if chosen.comparable:
        return scores
    parameters = dict(module.named_parameters(remove_duplicate=False))
    return {group.name: _shared_out(scores[group.name], _weights_along(group, parameters)) for group in groups}


def _shared_out(values: NDArray[np.float64], worth: int) -> NDArray[np.float64]:
    whole = float(values.sum())
    return worth * values / whole if whole > 0.0 else values


def _weights_along(group: ChannelGroup, parameters: Mapping[str, nn.Parameter]) -> int:
    """How many dimensions of weights (biases and normalisations only follow them) the group runs along."""
    along = (axis for axis in group.axes if axis.parameter in parameters and parameters[axis.parameter].ndim > 1)
    return max(1, sum(1 for _ in along))


def _check(criterion: str, scores: Mapping[str, np.ndarray], groups: Sequence[ChannelGroup]) -> None:
    for group in groups:
        values = scores.get(group.name)
        if values is None or values.shape != (group.size,) or not np.isfinite(values).all() or (values < 0.0).any():
            raise UsageError(
                f"criterion {criterion!r} did not give {group.size} finite numbers >= 0 for group {group.name!r}",
                hint="are there NaN or infinite weights or gradients in the model?",
            )
