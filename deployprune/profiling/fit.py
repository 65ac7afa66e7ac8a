"""From a latency table to a latency model: every node's law, calibrated to the whole model's latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UsageError
from deployprune.profiling.features import Term, node_terms, weight_terms
from deployprune.profiling.matching import MatchedNode, Matching, match_nodes
from deployprune.profiling.nodes import FittedNode, Samples, fit_node
from deployprune.profiling.pooled import fit_layers, layers_error
from deployprune.profiling.regression import fit_nonnegative
from deployprune.records import Analysis, LatencyModel, LatencyTable, VariantRun

__all__ = ["FittedLatency", "fit_latency", "learn_channel_step", "prediction_error"]

_STEPS = (1, 4, 8, 16, 32)
_ALIGNMENT = 4  # channels below which blocked layouts are left (ONNX Runtime's MLAS), whatever the block
_NEARLY = 1.05  # of several steps within so much of the least error, the finest is taken
_OFF_WEIGHT = 0.25  # what a run off the alignment counts in the calibration: plans are made on it
_OVERHEAD = 0.9  # of the nodes' constants that the calibration may take for the profiler's own
_FEWEST_RUNS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLatency:
    """Whole-model latency in ms: a constant plus nodes (a :class:`deployprune.records.LatencyModel`)."""

    nodes: tuple[FittedNode, ...]
    constant_ms: float

    def predict_ms(self, widths: dict[str, int]) -> float:
        """``constant_ms`` plus every node's cost."""
        return self.constant_ms + sum(node.cost_ms(widths) for node in self.nodes)


def fit_latency(table: LatencyTable, analysis: Analysis) -> FittedLatency:
    """Fit each node on the table's channel step, and the rest to the layers; then calibrate the sum to ``total_ms``.

    Without node times (``nodes`` empty) the layers' classes are fitted to the totals alone.
    Raises UsageError where the table has too few runs to fit anything.
    """
    if len(table.runs) < _FEWEST_RUNS:
        raise UsageError(
            f"the latency table has {len(table.runs)} runs, too few to fit a latency model",
            hint=f"measure at least {_FEWEST_RUNS} variants; 24 or more predict well",
        )
    widths = [run.widths for run in table.runs]
    totals = np.array([run.total_ms for run in table.runs])
    if not all(run.nodes for run in table.runs):
        samples = Samples(name="layers", widths=widths, ms=totals)
        return _split(fit_layers(analysis.layers, samples, step=table.channel_step, work=True))
    nodes = _fit_matching(match_nodes(table, analysis), widths, analysis, table.channel_step)
    return _calibrate(nodes, widths, totals, analysis)


def learn_channel_step(table: LatencyTable, analysis: Analysis) -> int:
    """The step (1, 4, 8, 16 or 32 channels) on which the nodes' times are predicted best, by cross-validation.

    The finest one, where a coarser step explains the runs no better.
    """
    widths = [run.widths for run in table.runs]
    if all(run.nodes for run in table.runs):
        matching = match_nodes(table, analysis)
        errors = [_matching_error(matching, widths, analysis, step) for step in _STEPS]
    else:
        samples = Samples(name="layers", widths=widths, ms=np.array([run.total_ms for run in table.runs]))
        errors = [layers_error(analysis.layers, samples, step) for step in _STEPS]
    return next(step for step, error in zip(_STEPS, errors, strict=True) if error <= _NEARLY * min(errors) + 1e-9)


def prediction_error(model: LatencyModel, runs: Sequence[VariantRun]) -> float:
    """The mean absolute relative error of the model's predictions of the runs' total latency."""
    return float(np.mean([abs(model.predict_ms(run.widths) / run.total_ms - 1.0) for run in runs]))


def _laws(node: MatchedNode, analysis: Analysis, step: int) -> list[tuple[tuple[Term, ...], int]]:
    """What is tried for a node, simplest first: smooth; padded outputs; padded inputs too; a cliff off an alignment."""
    plain, output, both = (node_terms(node, analysis.layers, *steps) for steps in ((1, 1), (step, 1), (step, step)))
    laws = [(plain, 1)]
    if step > 1:
        laws += [(output, 1), (both, 1), *((terms, _ALIGNMENT) for terms in (output, both)), (both, step)]
    return laws


def _matching_error(matching: Matching, widths: Sequence[dict[str, int]], analysis: Analysis, step: int) -> float:
    """The nodes' cross-validated relative error, weighted by the time they take, under the law that suits them best.

    One law for all nodes: a choice for each would make every step look good.
    """
    weights = np.array([node.ms.mean() for node in matching.nodes])
    errors = [
        [fit_node(Samples(name=node.name, widths=widths, ms=node.ms), [law])[1] for law in _laws(node, analysis, step)]
        for node in matching.nodes
    ]
    return float((weights @ np.array(errors)).min(initial=np.inf) / max(weights.sum(), 1e-9)) if errors else 0.0


def _fit_matching(
    matching: Matching, widths: Sequence[dict[str, int]], analysis: Analysis, step: int
) -> tuple[FittedNode, ...]:
    nodes = tuple(
        fit_node(Samples(name=node.name, widths=widths, ms=node.ms), _laws(node, analysis, step))[0]
        for node in matching.nodes
    )
    if not matching.leftover_ms.any():
        return nodes
    leftover = Samples(name="leftover", widths=widths, ms=matching.leftover_ms)
    return (*nodes, *fit_layers(analysis.layers, leftover, step=min(step, _ALIGNMENT), work=False))


def _calibrate(
    nodes: Sequence[FittedNode], widths: Sequence[dict[str, int]], totals: NDArray[np.float64], analysis: Analysis
) -> FittedLatency:
    """Scale the nodes to whole-model latency by a factor, a rate for the weights read, and a constant.

    Profiled nodes find warm caches, and each pays for being timed: the constant may take most of theirs away again.
    """
    weights = _weight_nodes(analysis)
    slack = _OVERHEAD * sum(node.constant_ms for node in nodes)
    sums = [[sum(node.cost_ms(row) for node in part) for part in (nodes, weights)] for row in widths]
    design = np.column_stack([np.array(sums), np.ones(len(widths))])
    importance = np.array([_OFF_WEIGHT if any(node.off(row) for node in nodes) else 1.0 for row in widths])
    factor, rate, constant = (float(value) for value in fit_nonnegative(design, totals + slack, importance))
    scaled = [*(node.scaled(factor) for node in nodes), *(node.scaled(rate) for node in weights if rate > 0.0)]
    return _split(scaled, constant - slack)


def _weight_nodes(analysis: Analysis) -> list[FittedNode]:
    """One node a contraction that costs 1 an element of its weight."""
    terms = [(f"weights:{layer.name}", weight_terms(layer)) for layer in analysis.layers]
    return [FittedNode(name=name, aligned=found, unaligned=found, watched=()) for name, found in terms if found]


def _split(nodes: Sequence[FittedNode], constant_ms: float = 0.0) -> FittedLatency:
    """The nodes that some width changes, and the rest as one constant."""
    fixed = sum(node.cost_ms({}) for node in nodes if not node.groups)
    return FittedLatency(nodes=tuple(node for node in nodes if node.groups), constant_ms=constant_ms + fixed)
