"""What of a model can be pruned, and its layers as functions of the widths."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Analysis", "Axis", "ChannelGroup", "DimForm", "Frozen", "LayerCost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One dimension of one parameter that a channel group runs along."""

    parameter: str
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Prunable units that live along the same parameter axes: ``size`` of them, each removed whole or not at all.

    ``units[i]`` maps ``parameter -> {dim: indices}``: what unit ``i`` takes away.  ``kind`` is ``channel``, ``head``,
    ``head dimension``, ``group`` or another of the field's words. ``statistics_changing`` says that a normalisation
    reduces over the units, so that removing one changes the statistics of the rest. ``branch`` names the residual
    branch that the group lives in, if it lives nowhere else: at width 0, which all groups of a branch have together,
    the branch is left out whole.
    """

    name: str
    kind: str
    size: int
    axes: tuple[Axis, ...]
    units: tuple[dict[str, dict[int, tuple[int, ...]]], ...]
    parameters: int
    macs: int
    minimum: int = 1
    step: int = 1
    statistics_changing: bool = False
    branch: str | None = None

    @property
    def channels_per_unit(self) -> int:
        """Channels that one unit takes of the axis where it takes fewest (64 for a head of 64, 1 for a channel)."""
        taken = [len(indices) for dims in self.units[0].values() for indices in dims.values()] if self.units else []
        return max(1, min(taken, default=1))

    def aligned_step(self, channel_step: int) -> int:
        """Units between widths that are multiples of ``channel_step`` channels and of ``step``.

        Halved while the group is too small to hold two of them, so that small groups keep a choice.
        """
        while channel_step > 1:
            units = math.lcm(self.step, channel_step // math.gcd(channel_step, self.channels_per_unit))
            if self.size >= 2 * units:
                return units
            channel_step //= 2
        return self.step


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Something that cannot be pruned: the operation, where it stands in the user's source, and what it froze."""

    op: str
    reason: str
    location: str
    parameters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimForm:
    """A tensor dimension as a function of the group widths: ``constant + sum(coefficient * product(widths))``."""

    constant: int
    terms: tuple[tuple[float, tuple[str, ...]], ...] = ()

    def size(self, widths: dict[str, int]) -> int:
        """The dimension's length when the groups have these widths."""
        total = float(self.constant)
        for coefficient, names in self.terms:
            product = coefficient
            for name in names:
                product *= widths[name]
            total += product
        return round(total)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that the dimension depends on."""
        return tuple(dict.fromkeys(name for _, names in self.terms for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """One operation of the dense graph with its dimensions as forms: what MACs and latency are computed from.

    ``inputs`` and ``output`` are the shapes (batch 1) of its tensor operands, weights included, and of its result.
    What multiplies and adds sums over the ``reduced`` dimensions: MACs = product(output dims) * product(reduced dims);
    everything else has none (``reduced`` is empty and ``contracts`` is false). ``sources`` are the operations that it
    takes results of.
    """

    name: str
    op: str
    module: str
    inputs: tuple[tuple[DimForm, ...], ...]
    output: tuple[DimForm, ...]
    contracts: bool
    reduced: tuple[DimForm, ...] = ()
    sources: tuple[str, ...] = ()

    def macs(self, widths: dict[str, int]) -> int:
        """Multiply-accumulate operations for one example at these widths."""
        if not self.contracts:
            return 0
        total = 1
        for form in (*self.output, *self.reduced):
            total *= form.size(widths)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What can be pruned, what cannot and why, and what every layer costs as a function of the widths.

    ``frozen`` is what no rule covers, ``held`` what keeps its outputs because of what an operation does with them.
    ``weights`` are the shapes of all parameters, each once. ``product`` and ``grafted`` are what a trial plan over all
    groups gave, in the words of :class:`~deployprune.records.Proof`: another plan may need other grafts.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: tuple[Frozen, ...]
    layers: tuple[LayerCost, ...]
    parameters: int
    prunable_parameters: int
    macs: int
    prunable_macs: int
    weights: tuple[tuple[DimForm, ...], ...] = ()
    held: tuple[Frozen, ...] = ()
    product: str | None = None
    grafted: tuple[str, ...] = ()

    def dense_widths(self) -> dict[str, int]:
        """Every group at its full size."""
        return {group.name: group.size for group in self.groups}

    def macs_at(self, widths: dict[str, int]) -> int:
        """MACs of one example at these widths."""
        return sum(layer.macs(widths) for layer in self.layers)
