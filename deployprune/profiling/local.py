"""A latency model bent to go through measured plans: exact at one of them, with slopes learned from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.fit import FittedLatency
from deployprune.profiling.nodes import FittedNode
from deployprune.profiling.terms import Condition, Stairs, Term
from deployprune.records import DimForm

__all__ = ["anchor_latency"]

_SLOPE = 0.3  # how far a slope of the model may be off, relative: the standard deviation that is expected
_LEAST_SLOPE = 0.02  # of the whole latency, over a group's whole width
_CLIFF = 0.02  # of the whole latency: what the model may miss of leaving the channel step in one group
_NOISE = 0.003  # of a measured ratio
_CURVATURE = 0.5  # of the latency, over the square of a distance: what no slope explains

Observed = tuple[Mapping[str, int], float]


def anchor_latency(
    model: FittedLatency, anchor: Observed, others: Sequence[Observed], channel_step: int = 1
) -> FittedLatency:
    """``model`` scaled to ``anchor`` (widths, ms), and corrected there by what it missed of the others.

    The corrections are a slope a group, and a cost a group of being off ``channel_step``, by ridge regression with the
    model's own slopes as their scale (in the limit of one other plan and no noise this is Broyden's update, 1965, of
    the model's gradient); distant plans count for little.
    """
    centre, ms = dict(anchor[0]), anchor[1]
    factor = ms / model.predict_ms(centre)
    nodes = tuple(node.scaled(factor) for node in model.nodes)
    scaled = FittedLatency(nodes=nodes, constant_ms=model.constant_ms * factor)
    if not others:
        return scaled
    slopes, cliffs = _missed(scaled, centre, ms, others, channel_step)
    added = [
        *(_tilt(name, slope / centre[name]) for name, slope in slopes.items() if slope),
        *(_cliff(name, cost, channel_step) for name, cost in cliffs.items() if cost),
    ]
    offset = sum(node.cost_ms(centre) for node in added)
    return FittedLatency(nodes=(*nodes, *added), constant_ms=scaled.constant_ms - offset)


def _missed(
    model: FittedLatency, centre: dict[str, int], ms: float, others: Sequence[Observed], channel_step: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Per group the ms that the model misses as its width goes from nothing to the anchor's, and off the step."""
    names = [name for name, width in centre.items() if width]
    here = np.array([centre[name] for name in names])
    widths = np.array([[row[name] for name in names] for row, _ in others])
    moves = widths / here - 1.0
    changes = np.hstack([moves, (widths % channel_step != 0) * 1.0 - (here % channel_step != 0)])
    slopes = [_SLOPE * (_slope(model, centre, name) + _LEAST_SLOPE * ms) for name in names]
    expected = np.array([*slopes, *([_CLIFF * ms] * len(names))])
    spread = changes * expected
    missed = np.array([observed - model.predict_ms(dict(row)) for row, observed in others])
    noise = (_NOISE * ms) ** 2 + (_CURVATURE * ms * (moves**2).sum(axis=1)) ** 2
    weights = np.linalg.solve(spread @ spread.T + np.diag(noise), missed)
    learned: NDArray[np.float64] = expected * (spread.T @ weights)
    values = learned.tolist()
    return dict(zip(names, values, strict=False)), dict(zip(names, values[len(names) :], strict=True))


def _slope(model: FittedLatency, centre: dict[str, int], name: str) -> float:
    """The ms that the group's width brings, from half of the anchor's on, extended down to nothing."""
    half = {**centre, name: max(1, centre[name] // 2)}
    step = 1.0 - half[name] / centre[name]
    return abs(model.predict_ms(centre) - model.predict_ms(half)) / step if step else 0.0


def _tilt(name: str, ms_per_unit: float) -> FittedNode:
    width = DimForm(constant=0, terms=((1.0, (name,)),))
    return FittedNode(name=f"tilt:{name}", terms=(Term(coefficient=ms_per_unit, factors=(Stairs(form=width),)),))


def _cliff(name: str, ms: float, channel_step: int) -> FittedNode:
    width = DimForm(constant=0, terms=((1.0, (name,)),))
    off = Condition(forms=(width,), alignment=channel_step, off=True)
    return FittedNode(name=f"cliff:{name}", terms=(Term(coefficient=ms, when=off),))
