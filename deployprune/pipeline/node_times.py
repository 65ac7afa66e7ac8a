"""The time of each node of a table's variants, by the runtime's own timer: once, and again where it was disturbed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deployprune.backends.base import Backend
from deployprune.backends.feeds import random_feeds
from deployprune.pipeline.spending import Spending
from deployprune.pipeline.variants import Variants
from deployprune.profiling.steady import disturbances
from deployprune.records import NodeTime, Target, VariantRun

__all__ = ["NodeTimer", "draw_feeds", "time_nodes"]

_PROFILE_MS = 200.0  # of runs under the runtime's own timer, per variant
_PROFILE_RUNS = (10, 60)  # at least and at most: to read what a runtime wrote of them takes as long again
_DISTURBED = 0.05  # relative: nodes that took so much more than goes with their total are timed again

Feeds = dict[str, np.ndarray]
Nodes = tuple[NodeTime, ...]


@dataclass(frozen=True)
class NodeTimer:
    """Times the nodes of variants, by index, as far as the seconds for it last."""

    variants: Variants
    backend: Backend
    target: Target
    spending: Spending
    feeds: Feeds
    nodes: dict[int, Nodes] = field(default_factory=dict)

    def time_once(self, totals: Mapping[int, float]) -> None:
        """Time the nodes of these variants, given what each takes in all (ms), but those that have been timed."""
        for index, total_ms in totals.items():
            if index not in self.nodes and self.spending.profiles(len(self.nodes)):
                self.nodes[index] = self._time(index, total_ms)

    def time_again(self, totals: Mapping[int, float]) -> None:
        """Time those nodes again that took more in sum than goes with their variant's total, the worst first.

        Whatever else a machine does makes nodes slower, never faster: the lesser of the two sums counts.
        """
        runs = [VariantRun(widths={}, total_ms=totals[index], nodes=nodes) for index, nodes in self.nodes.items()]
        excess = dict(zip(self.nodes, disturbances(runs).tolist(), strict=True))
        for index in sorted(excess, key=excess.__getitem__, reverse=True):
            if excess[index] <= _DISTURBED or not self.spending.profiles_again():
                return
            self.nodes[index] = min(self.nodes[index], self._time(index, totals[index]), key=_sum_ms)

    def _time(self, index: int, total_ms: float) -> Nodes:
        began = time.monotonic()
        nodes = time_nodes(self.variants.path(index, self.backend), self.backend, self.target, self.feeds, total_ms)
        self.spending.spend_on_nodes(time.monotonic() - began)
        return nodes


def draw_feeds(path: Path, backend: Backend, target: Target, seed: int) -> Feeds:
    """Random inputs of the model in ``path``, and so of all its variants."""
    with backend.open(path, target) as session:
        return random_feeds(session.inputs, seed)


def time_nodes(path: Path, backend: Backend, target: Target, feeds: Feeds, total_ms: float) -> Nodes:
    """The file's nodes by the runtime's own timer, over about 0.2 s of inferences of ``total_ms`` each."""
    least, most = _PROFILE_RUNS
    runs = min(most, max(least, round(_PROFILE_MS / total_ms)))
    return backend.node_times(path, target, feeds, runs)


def _sum_ms(nodes: Nodes) -> float:
    return sum(node.ms for node in nodes)
