"""The criteria: what each unit of a group is worth, before groups are made comparable."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deployprune.errors import UsageError
from deployprune.pruning.sensitivity import Damage, sensitivities
from deployprune.records import ChannelGroup

__all__ = ["CRITERIA", "Criterion", "Evidence", "Gradients", "Scores"]

Scores = dict[str, NDArray[np.float64]]
Gradients = Callable[[], Iterator[None]]
"""Each time its iterator is advanced, a backward pass over a fresh batch has filled the module's gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What data can say of a model; all None where there is none."""

    gradients: Gradients | None = None
    damage: Damage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A function from a module, its groups and the evidence of data to one number >= 0 a unit.

    ``comparable`` says that the numbers of different groups share a scale; otherwise each group is normalised.
    ``needs_data`` says that without evidence it can only raise UsageError.
    """

    score: Callable[[nn.Module, Sequence[ChannelGroup], Evidence], Scores]
    comparable: bool = False
    needs_data: bool = False


def _magnitude(power: int) -> Callable[[nn.Module, Sequence[ChannelGroup], Evidence], Scores]:
    def score(module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence) -> Scores:
        parameters = _parameters(module)
        powers = {name: parameter.detach().abs() ** power for name, parameter in parameters.items()}
        return {name: values ** (1.0 / power) for name, values in _unit_sums(groups, powers).items()}

    return score


def _taylor(module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence) -> Scores:
    """The mean over batches of ``(sum of gradient * weight over the unit)**2`` (Molchanov et al. 2019, eq. 8).

    It estimates the squared change of the loss when the unit is removed: a scale that all groups share.
    """
    if evidence.gradients is None:
        raise UsageError(
            "the taylor criterion needs gradients, and there is no data to compute them on",
            hint="give data, or choose the criterion l2",
        )
    totals = {group.name: np.zeros(group.size) for group in groups}
    parameters = _parameters(module)
    batches = 0
    for _ in evidence.gradients():
        products = {
            name: parameter.detach() * parameter.grad.detach()
            for name, parameter in parameters.items()
            if parameter.grad is not None
        }
        for name, values in _unit_sums(groups, products).items():
            totals[name] += values**2
        batches += 1
    if not batches:
        raise UsageError("the taylor criterion got no batch of gradients", hint="give data that is not empty")
    return {name: values / batches for name, values in totals.items()}


def _sensitivity(module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence) -> Scores:
    """Measured curves, along which the units go in the order of :func:`_taylor`."""
    if evidence.damage is None:
        raise UsageError(
            "the sensitivity criterion measures outputs, and there is no data to put in",
            hint="give data, or choose the criterion l2",
        )
    return sensitivities(groups, _taylor(module, groups, evidence), evidence.damage)


def _random(module: nn.Module, groups: Sequence[ChannelGroup], evidence: Evidence) -> Scores:
    """Uniform numbers, the same for a group's name every time: the baseline that a criterion must beat."""
    return {group.name: np.random.default_rng(zlib.crc32(group.name.encode())).random(group.size) for group in groups}


CRITERIA: Mapping[str, Criterion] = {
    "l1": Criterion(score=_magnitude(1)),
    "l2": Criterion(score=_magnitude(2)),
    "taylor": Criterion(score=_taylor, comparable=True, needs_data=True),
    "sensitivity": Criterion(score=_sensitivity, comparable=True, needs_data=True),
    "random": Criterion(score=_random),
}


def _parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """All parameters by every name that the state dict has for them (shared ones have several)."""
    return dict(module.named_parameters(remove_duplicate=False))


def _unit_sums(groups: Sequence[ChannelGroup], tensors: Mapping[str, Tensor]) -> Scores:
    """The sum of every unit's elements over all its parameters.

    Elements where two dimensions of one unit cross count twice; names without a tensor (buffers) count nothing.
    """
    margins: dict[tuple[str, int], NDArray[np.float64]] = {}

    def margin(name: str, dim: int) -> NDArray[np.float64]:
        if (name, dim) not in margins:
            rows = tensors[name].detach().to(torch.float64).movedim(dim, 0)
            margins[name, dim] = rows.reshape(rows.shape[0], -1).sum(dim=1).cpu().numpy()
        return margins[name, dim]

    return {
        group.name: np.array(
            [
                sum(
                    float(margin(name, dim)[list(indices)].sum())
                    for name, dims in unit.items()
                    if name in tensors
                    for dim, indices in dims.items()
                )
                for unit in group.units
            ],
            dtype=np.float64,
        )
        for group in groups
    }
