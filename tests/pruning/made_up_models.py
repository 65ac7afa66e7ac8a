"""Latency models with known laws, and groups to plan for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deployprune.pruning.candidates import choices
from deployprune.records import ChannelGroup, LatencyModel


@dataclass(frozen=True)
class Node:
    name: str
    groups: tuple[str, ...]
    law: Callable[[dict[str, int]], float]

    def cost_ms(self, widths: dict[str, int]) -> float:
        return self.law({name: widths[name] for name in self.groups})


@dataclass(frozen=True)
class Model:
    nodes: tuple[Node, ...]
    constant_ms: float = 0.1

    def predict_ms(self, widths: dict[str, int]) -> float:
        return self.constant_ms + sum(node.cost_ms(widths) for node in self.nodes)


def group(name: str, size: int, minimum: int = 1, step: int = 1, branch: str | None = None) -> ChannelGroup:
    units = tuple({"w": {0: (i,)}} for i in range(size))
    return ChannelGroup(
        name=name,
        kind="channel",
        size=size,
        axes=(),
        units=units,
        parameters=0,
        macs=0,
        minimum=minimum,
        step=step,
        branch=branch,
    )


def conv(name: str, sources: Sequence[str], result: str, rate: float, *, step: int = 8) -> Node:
    """A convolution of concatenated sources: work, rounded up to the step, plus what it writes."""

    def law(widths: dict[str, int]) -> float:
        source = math.ceil(sum(widths[s] for s in sources) / step) * step if sources else 3
        written = math.ceil(widths[result] / step) * step
        if not all(widths.values()):
            return 0.0
        return 0.002 + rate * source * written + rate * 5 * written

    return Node(name, tuple(dict.fromkeys((*sources, result))), law)


def chain(groups: Sequence[ChannelGroup], seed: int = 0) -> Model:
    rng = np.random.default_rng(seed)
    names = [g.name for g in groups]
    nodes = [conv("stem", [], names[0], 1e-4)]
    nodes += [conv(f"{a}{b}", [a], b, float(rng.uniform(1e-5, 1e-4))) for a, b in itertools.pairwise(names)]
    return Model(tuple(nodes))


def dense_block(groups: Sequence[ChannelGroup], seed: int = 0) -> Model:
    """Every convolution reads all that came before it."""
    rng = np.random.default_rng(seed)
    names = [g.name for g in groups]
    nodes = [conv("stem", [], names[0], 1e-4)]
    nodes += [conv(f"c{i}", names[:i], names[i], float(rng.uniform(2e-5, 1e-4))) for i in range(1, len(names))]
    return Model(tuple(nodes))


def attention(groups: Sequence[ChannelGroup]) -> Model:
    """Projections between an embedding and heads x head dimension: three groups a node, all multiplied."""
    embed, heads, dim = (g.name for g in groups[:3])
    nodes = [
        Node(f"p{i}", (embed, heads, dim), lambda w, i=i: 1e-5 * (i + 1) * w[embed] * w[heads] * w[dim] + 0.01)
        for i in range(3)
    ]
    return Model((*nodes, Node("norm", (embed,), lambda w: 1e-3 * w[embed])))


def importances(groups: Sequence[ChannelGroup], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {g.name: rng.lognormal(0.0, 1.0, g.size) * rng.uniform(0.3, 2.0) for g in groups}


def loss_of(widths: Mapping[str, int], groups: Sequence[ChannelGroup], importance: Mapping[str, np.ndarray]) -> float:
    """The planner's objective, computed apart from it: the groups' importance times minus the log of its kept share."""
    total = sum(float(values.sum()) for values in importance.values())
    loss = 0.0
    for g in groups:
        values = np.sort(importance[g.name])[::-1]
        share = values[: widths[g.name]].sum() / values.sum() if widths[g.name] else 0.05
        loss -= float(values.sum()) / total * math.log(share)
    return loss


def brute_force(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, np.ndarray],
    models: Mapping[str, LatencyModel],
    limits: Mapping[str, tuple[float, float]],
    *,
    channel_step: int,
    max_candidates: int,
) -> float:
    """The least loss of all combinations within the limits (infinity where there are none)."""
    menu = choices(groups, importance, max_candidates=max_candidates, channel_step=channel_step)

    def feasible() -> Iterator[dict[str, int]]:
        for combination in itertools.product(*(choice.widths for choice in menu)):
            widths = {choice.group: width for choice, width in zip(menu, combination, strict=True)}
            empty = {(g.branch, widths[g.name] == 0) for g in groups if g.branch}
            if len(empty) == len({branch for branch, _ in empty}) and all(
                low <= models[key].predict_ms(widths) <= high for key, (low, high) in limits.items()
            ):
                yield widths

    return min((loss_of(widths, groups, importance) for widths in feasible()), default=math.inf)
