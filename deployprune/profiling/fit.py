"""From a latency table to a latency model: every node's law, calibrated to the whole model's latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployprune.errors import UsageError
from deployprune.profiling.features import node_laws, node_shape, step_laws
from deployprune.profiling.layers import off_terms, weight_terms
from deployprune.profiling.matching import Matching, match_nodes
from deployprune.profiling.nodes import FittedNode, Samples, fit_node, law_error
from deployprune.profiling.pooled import fit_layers, fit_leftover, layers_error
from deployprune.profiling.regression import Expectation, fit_nonnegative
from deployprune.profiling.steady import steady_nodes
from deployprune.profiling.terms import Sizes, Term
from deployprune.records import Analysis, LatencyModel, LatencyTable, LayerCost, VariantRun

__all__ = ["FittedLatency", "fit_latency", "learn_channel_step", "prediction_error"]

_STEPS = (1, 4, 8, 16, 32)
_NEARLY = 1.05  # of several steps within so much of the least error, the finest is taken
_HEAVIEST = 15  # nodes by which steps are compared
_LIGHT = 0.002  # of the nodes' time: what is not worth a search for its law
_LAWS = 9  # that a node may follow
_OVERHEAD = 0.9  # of the nodes' constants that the calibration may take for the profiler's own
_FEWEST_RUNS = 6
_NOISE = 0.01  # of a run's total
_SPREAD = 0.2  # relative: how far a rate may be from what is expected of it


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLatency:
    """Whole-model latency in ms: a constant plus nodes (a :class:`deployprune.records.LatencyModel`)."""

    nodes: tuple[FittedNode, ...]
    constant_ms: float

    def predict_ms(self, widths: dict[str, int]) -> float:
        """``constant_ms`` plus every node's cost."""
        return self.constant_ms + sum(node.cost_ms(widths) for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Profiles:
    """The nodes of the runs that have been profiled, at their sizes."""

    matching: Matching
    sizes: Sizes
    precision: NDArray[np.float64]

    def samples(self, name: str, ms: NDArray[np.float64]) -> Samples:
        """``ms``, run by run, as what was observed of one node."""
        return Samples(name=name, sizes=self.sizes, ms=ms, precision=self.precision)


def fit_latency(table: LatencyTable, analysis: Analysis) -> FittedLatency:
    """Fit each node on the table's channel step, and the rest to the layers; then calibrate the sum to ``total_ms``.

    Runs without node times (``nodes`` empty) count in the calibration; where hardly any has some, the layers' classes
    are fitted to the totals alone.
    Raises UsageError where the table has too few runs to fit anything.
    """
    if len(table.runs) < _FEWEST_RUNS:
        raise UsageError(
            f"the latency table has {len(table.runs)} runs, too few to fit a latency model",
            hint=f"measure at least {_FEWEST_RUNS} variants; 24 or more predict well",
        )
    sizes = Sizes([run.widths for run in table.runs])
    totals = np.array([run.total_ms for run in table.runs])
    profiles = _profiles(table, analysis)
    if profiles is None:
        samples = Samples(name="layers", sizes=sizes, ms=totals)
        return _split(fit_layers(analysis.layers, samples, table.channel_step))
    nodes = _fit_nodes(profiles, analysis, table.channel_step, table.target.threads)
    return _calibrate(nodes, sizes, totals, _overheads(analysis, table.channel_step))


def learn_channel_step(table: LatencyTable, analysis: Analysis) -> int:
    """The step (1, 4, 8, 16 or 32 channels) on which the nodes' times are predicted best, by cross-validation.

    The finest one, where a coarser step explains the runs no better.
    """
    profiles = _profiles(table, analysis)
    if profiles is not None:
        errors = [_nodes_error(profiles, analysis, step) for step in _STEPS]
    else:
        sizes, totals = Sizes([run.widths for run in table.runs]), np.array([run.total_ms for run in table.runs])
        samples = Samples(name="layers", sizes=sizes, ms=totals)
        errors = [layers_error(analysis.layers, samples, step) for step in _STEPS]
    return next(step for step, error in zip(_STEPS, errors, strict=True) if error <= _NEARLY * min(errors) + 1e-9)


def prediction_error(model: LatencyModel, runs: Sequence[VariantRun]) -> float:
    """The mean absolute relative error of the model's predictions of the runs' total latency."""
    return float(np.mean([abs(model.predict_ms(run.widths) / run.total_ms - 1.0) for run in runs]))


def _profiles(table: LatencyTable, analysis: Analysis) -> _Profiles | None:
    """The runs' nodes; None where too few have been profiled to fit the nodes to."""
    found = [run for run in table.runs if run.nodes]
    if len(found) < _FEWEST_RUNS:
        return None
    steady = steady_nodes(found)
    return _Profiles(
        matching=match_nodes(steady.runs, analysis),
        sizes=Sizes([run.widths for run in found]),
        precision=steady.precision,
    )


def _nodes_error(profiles: _Profiles, analysis: Analysis, step: int) -> float:
    """The cross-validated relative error of the nodes that take most time, under the law that suits them best.

    One law for all nodes: a choice for each would make every step look good.
    """
    nodes = profiles.matching.nodes
    weights = np.array([node.ms.mean() for node in nodes])
    errors = []
    heavy = np.argsort(-weights)[:_HEAVIEST]
    for index in heavy:
        samples = profiles.samples(nodes[index].name, nodes[index].ms)
        laws = step_laws(node_shape(nodes[index], analysis.layers), step)
        errors.append(np.resize([law_error(samples, law) for law in laws], _LAWS))
    return float((weights[heavy] @ np.array(errors)).min(initial=np.inf) / weights[heavy].sum()) if errors else 0.0


def _fit_nodes(profiles: _Profiles, analysis: Analysis, step: int, threads: int) -> tuple[FittedNode, ...]:
    matching = profiles.matching
    light = _LIGHT * sum(float(node.ms.mean()) for node in matching.nodes)
    nodes = []
    for node in matching.nodes:
        laws = node_laws(node_shape(node, analysis.layers), step, threads)
        samples = profiles.samples(node.name, node.ms)
        nodes.append(fit_node(samples, laws if node.ms.mean() > light else laws[:1]))
    if not matching.leftover_ms.any():
        return tuple(nodes)
    leftover = profiles.samples("leftover", matching.leftover_ms)
    return (*nodes, *fit_leftover(analysis.layers, leftover, step))


def _calibrate(
    nodes: Sequence[FittedNode], sizes: Sizes, totals: NDArray[np.float64], overheads: Sequence[Sequence[FittedNode]]
) -> FittedLatency:
    """Scale the nodes to whole-model latency by a factor, a rate for each of the overheads, and a constant.

    Each node pays for being timed: the constant may take most of theirs away again. Where the runs are so alike that
    their totals do not tell which of these it is, the nodes are taken to make up the whole.
    """
    slack = _OVERHEAD * sum(node.constant_ms for node in nodes)
    parts = [nodes, *overheads]
    sums = [sizes.design([term for node in part for term in node.terms]).sum(axis=1) for part in parts]
    design = np.column_stack([*sums, np.ones(len(totals))])
    expected = _expectation(design[:, :-1], totals)
    *rates, constant = (float(value) for value in fit_nonnegative(design, totals + slack, expected))
    scaled = [node.scaled(rate) for part, rate in zip(parts, rates, strict=True) for node in part if rate > 0.0]
    return _split(scaled, constant - slack)


def _expectation(sums: NDArray[np.float64], totals: NDArray[np.float64]) -> Expectation:
    """That the nodes, the first of the sums, take what the runs take, and the overheads nothing."""
    shares = np.median(sums / totals[:, None], axis=0)
    rows = np.column_stack([np.diag(shares), np.zeros(len(shares))])
    values = np.zeros(len(shares))
    values[0] = 1.0
    return Expectation(design=rows * (_NOISE / _SPREAD), values=values * (_NOISE / _SPREAD))


def _overheads(analysis: Analysis, step: int) -> list[list[FittedNode]]:
    """What a whole run takes more of than its profiled nodes, that find warm caches, one unit an element: weights
    that are read, and what is written off the channel step."""
    kinds: list[tuple[str, Callable[[LayerCost], tuple[Term, ...]]]] = [
        ("weights", weight_terms),
        ("off step", lambda layer: off_terms(layer, step)),
    ]
    found = [[(f"{kind}:{layer.name}", terms(layer)) for layer in analysis.layers] for kind, terms in kinds]
    return [[FittedNode(name=name, terms=terms) for name, terms in part if terms] for part in found]


def _split(nodes: Sequence[FittedNode], constant_ms: float = 0.0) -> FittedLatency:
    """The nodes that some width changes, and the rest as one constant."""
    fixed = sum(node.cost_ms({}) for node in nodes if not node.groups)
    return FittedLatency(nodes=tuple(node for node in nodes if node.groups), constant_ms=constant_ms + fixed)
