"""Other ways to choose widths, to be compared with: all groups scaled alike, and planning by MACs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.pruning.candidates import candidate_widths, whole_loss
from deployprune.pruning.planner import plan_widths
from deployprune.records import Analysis, ChannelGroup, LayerCost

Widths = dict[str, int]
Importance = Mapping[str, NDArray[np.float64]]
_TURNS = 8  # halvings of the interval in which a share or a limit is looked for
_MULTIPLIER_STEP = 8  # channels (Howard et al. 2017 and what followed)
_CLOSE = 0.004  # of the limit: near enough


@dataclass(frozen=True)
class MacsNode:
    """One layer's multiply-accumulates in the place of its latency: a million of them stand for one ms."""

    layer: LayerCost
    groups: tuple[str, ...]

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    def cost_ms(self, widths: Mapping[str, int]) -> float:
        """Millions of MACs at these widths."""
        return self.layer.macs(dict(widths)) / 1e6


@dataclass(frozen=True)
class MacsModel:
    """A latency model that knows nothing but MACs: what planning by FLOPs comes to."""

    analysis: Analysis

    @property
    def nodes(self) -> tuple[MacsNode, ...]:
        """The layers whose MACs depend on a width."""
        found = ((layer, _groups_of(layer)) for layer in self.analysis.layers if layer.contracts)
        return tuple(MacsNode(layer, groups) for layer, groups in found if groups)

    @property
    def constant_ms(self) -> float:
        """Millions of MACs that no width changes."""
        fixed = (layer for layer in self.analysis.layers if layer.contracts and not _groups_of(layer))
        return sum(layer.macs({}) for layer in fixed) / 1e6

    def predict_ms(self, widths: Mapping[str, int]) -> float:
        """Millions of MACs of the whole model."""
        return self.analysis.macs_at(dict(widths)) / 1e6


def plan_by_macs(
    analysis: Analysis,
    groups: Sequence[ChannelGroup],
    importance: Importance,
    share: float,
    *,
    channel_step: int = 1,
    low: float = 0.97,
) -> Widths:
    """The widths that keep most importance within ``share`` of the dense MACs, on multiples of ``channel_step``."""
    budget = share * analysis.macs / 1e6
    limits = {"macs": (low * budget, budget)}
    model = {"macs": MacsModel(analysis)}
    return plan_widths(groups, importance, model, limits, channel_step=channel_step).widths


def scale_uniformly(groups: Sequence[ChannelGroup], share: float, *, channel_step: int = 1) -> Widths:
    """Every group at ``share`` of its units, rounded to its nearest legal width."""
    return {
        group.name: min(
            candidate_widths(group, group.size + 1, channel_step), key=lambda width: abs(width - share * group.size)
        )
        for group in groups
    }


def match_latency(
    plan: Callable[[float], Widths], latency_ms: Callable[[Widths], float], limit_ms: float, *, least: float = 0.02
) -> Widths:
    """The widest of ``plan(share)`` whose latency, measured or predicted, is not above the limit, by bisection.

    Both must not fall as the share grows from ``least`` to 1; where even ``least`` is above, its plan is given. So two
    ways of choosing widths are held against each other at one latency.
    """
    low, high = least, 1.0
    best = plan(low)
    for _ in range(_TURNS):
        share = (low + high) / 2
        widths = plan(share)
        taken = latency_ms(widths)
        if taken <= limit_ms:
            low, best = share, widths
            if taken >= (1 - _CLOSE) * limit_ms:
                break
        else:
            high = share
    return best


def others_at_latency(
    analysis: Analysis,
    groups: Sequence[ChannelGroup],
    importance: Importance,
    latency_ms: Callable[[Widths], float],
    limit_ms: float,
    *,
    channel_step: int = 1,
) -> dict[str, Widths]:
    """What ``uniform`` scaling and planning by ``macs`` come to within ``limit_ms``, by their names.

    ``latency_ms`` measures or predicts widths, ten of them a name. Uniform widths are on multiples of 8, as width
    multipliers have them; MACs are planned on ``channel_step``, the best that they can be given.
    """
    return {
        "uniform": match_latency(
            lambda share: scale_uniformly(groups, share, channel_step=_MULTIPLIER_STEP), latency_ms, limit_ms
        ),
        "macs": match_latency(
            lambda share: plan_by_macs(analysis, groups, importance, share, channel_step=channel_step),
            latency_ms,
            limit_ms,
            least=least_macs(analysis, groups, channel_step=channel_step),
        ),
    }


def least_macs(analysis: Analysis, groups: Sequence[ChannelGroup], *, channel_step: int = 1) -> float:
    """The share of the dense MACs that every group at its narrowest leaves, and a little more."""
    narrowest = {group.name: candidate_widths(group, 2, channel_step)[0] for group in groups}
    return min(1.0, 1.02 * analysis.macs_at(narrowest) / analysis.macs)


def importance_kept(importance: Importance, widths: Widths) -> float:
    """The share of all importance that the best units of these widths keep, in the sense by which plans are chosen."""
    return math.exp(-whole_loss(importance, widths))


def _groups_of(layer: LayerCost) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for form in (*layer.output, *layer.reduced) for name in form.groups))
