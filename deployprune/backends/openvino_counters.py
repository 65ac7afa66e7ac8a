"""OpenVINO's performance counters as node times with stable names.

A counter is the whole-microsecond average since the model was compiled, so a slow first inference or one preemption
stays in it for good. Hence: subtract the warm-up's share, and take the lower one of two compiled copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from deployprune.backends.base import Session
from deployprune.records import NodeTime

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CountingSession", "typical_times"]

_COPIES = 2  # to compile one takes about as long as to run it for
_WARM_UP = 3
Shapes = tuple[tuple[int, ...], ...]


class CountingSession(Session, Protocol):
    """A session whose runtime counts the time of every node."""

    def counters(self) -> list[Any]:
        """The counters of all nodes since the model was compiled."""
        ...

    def runtime_nodes(self) -> list[Any]:
        """The nodes as compiled, with their shapes."""
        ...


def typical_times(
    open_session: Callable[[], CountingSession], feeds: dict[str, np.ndarray], runs: int
) -> tuple[NodeTime, ...]:
    """Every executed node's ms (batch as opened), the least of ``_COPIES`` compiled copies that share ``runs``."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    described: dict[str, NodeTime] = {}
    for _ in range(_COPIES):
        with open_session() as session:
            nodes = {node.get_friendly_name(): node for node in session.runtime_nodes()}
            for name, kind, ms in _mean_times(session, feeds, max(runs // _COPIES, 1)):
                times[name].append(ms)
                if name not in described:
                    described[name] = _describe(nodes.get(name), name, kind)
    return tuple(
        NodeTime(name=node.name, kind=node.kind, ms=min(times[key]), inputs=node.inputs, outputs=node.outputs)
        for key, node in described.items()
    )


def _mean_times(session: CountingSession, feeds: dict[str, np.ndarray], runs: int) -> list[tuple[str, str, float]]:
    """(name, kind, mean ms after the warm-up) of the nodes that ran in the first inference.

    The first one decides, because a node whose average falls below one microsecond is reported as not run.
    """
    session.run(feeds)
    executed = {info.node_name: info.node_type for info in session.counters() if "EXECUTED" in str(info.status)}
    for _ in range(_WARM_UP - 1):
        session.run(feeds)
    before = _averages(session)
    for _ in range(runs):
        session.run(feeds)
    after = _averages(session)
    total = _WARM_UP + runs
    return [
        (name, kind, max(after[name] * total - before[name] * _WARM_UP, 0.0) / runs / 1e3)
        for name, kind in executed.items()
    ]


def _averages(session: CountingSession) -> dict[str, float]:
    """Microseconds by node name; averages are cut to whole numbers, which half a microsecond makes good."""
    return {info.node_name: info.real_time.total_seconds() * 1e6 + 0.5 for info in session.counters()}


def _describe(node: Any, name: str, kind: str) -> NodeTime:
    """The node without its time; a reorder, named after layouts that change with the widths, gets its reader's name."""
    if node is None:
        return NodeTime(name=name, kind=kind, ms=0.0, inputs=(), outputs=())
    inputs: Shapes = tuple(tuple(port.get_shape()) for port in node.inputs())
    outputs: Shapes = tuple(tuple(port.get_shape()) for port in node.outputs())
    readers = [reader for port in node.outputs() for reader in port.get_target_inputs()]
    if kind == "Reorder" and readers:
        name = f"reorder before {readers[0].get_node().get_friendly_name()} input {readers[0].get_index()}"
    return NodeTime(name=name, kind=kind, ms=0.0, inputs=inputs, outputs=outputs)
