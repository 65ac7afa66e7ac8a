"""ONNX Runtime's profile as node times with stable names and logical shapes.

The runtime renames what it optimises: a convolution in the blocked layout is called after its last fused output with
``_nchwc`` behind it, other fusions prepend ``fused`` or append ``/SomeFusion``; shapes are padded to the block and
packed weights are left out. Both are undone with the file's own graph.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from deployprune.backends.onnx_file import GraphNode, static_nodes
from deployprune.backends.typical import middle_mean
from deployprune.records import NodeTime

__all__ = ["read_profile"]

_SUFFIX = "_kernel_time"
_BLOCKED = "_nchwc"
_FUSED = "fused "
Shapes = tuple[tuple[int, ...], ...]


def read_profile(profile: Path, model: Path, batch: int, *, skip: int) -> tuple[NodeTime, ...]:
    """The nodes in ``profile``, in the order they executed, without the first ``skip`` inferences.

    A node's ms is the mean of the middle half of its times: they are whole microseconds, so that a median of a small
    node would move in steps of many percent. Raises ExportError when ``model`` cannot be read.
    """
    with profile.open(encoding="utf-8") as stream:
        events = [e for e in json.load(stream) if e["cat"] == "Node" and e["name"].endswith(_SUFFIX)]
    times: defaultdict[str, list[int]] = defaultdict(list)
    first: dict[str, dict[str, Any]] = {}
    for event in events:
        key = event["args"]["node_index"]
        times[key].append(event["dur"])
        first.setdefault(key, event)
    nodes = _match(list(first.values()), static_nodes(model, batch))
    names = _names(list(first.values()), nodes)
    return tuple(
        _node_time(name, event, node, middle_mean(times[key][skip:]) / 1e3)
        for name, node, (key, event) in zip(names, nodes, first.items(), strict=True)
    )


def _match(events: list[dict[str, Any]], nodes: tuple[GraphNode, ...]) -> list[GraphNode | None]:
    """The file's node that each event is about, or None for what only the runtime knows, such as a reorder."""
    found = [_called(event, nodes) for event in events]
    claimed = {node.name for node in found if node is not None}
    by_output = {output: node for node in nodes for output in node.outputs}
    for i, event in enumerate(events):
        name = _name(event)
        if found[i] is None and name.endswith(_BLOCKED):
            found[i] = _producer(name.removesuffix(_BLOCKED), _kind(event), by_output, claimed)
    return found


def _called(event: dict[str, Any], nodes: tuple[GraphNode, ...]) -> GraphNode | None:
    """The node of the event's kind that has its name, or in the blocked layout its name as an output."""
    name, kind = _name(event), _kind(event)
    alike = [node for node in nodes if node.op == kind]
    if name.endswith(_BLOCKED):
        return next((node for node in alike if name.removesuffix(_BLOCKED) in node.outputs), None)
    by_name = {node.name: node for node in alike if node.name}
    short = name.removeprefix(_FUSED)
    while short and short not in by_name:
        short = short.rpartition("/")[0]
    return by_name.get(name) or by_name.get(short)


def _producer(tensor: str, kind: str, by_output: dict[str, GraphNode], claimed: set[str]) -> GraphNode | None:
    """The nearest node of this kind behind ``tensor``, looking back through what was fused; not one claimed already.

    Of the two convolutions in front of a residual addition only one takes the addition in; the other keeps its name.
    """
    waiting, seen = [tensor], {tensor}
    while waiting:
        node = by_output.get(waiting.pop(0))
        if node is None:
            continue
        if node.op == kind and node.name not in claimed:
            return node
        fresh = [name for name in node.inputs if name not in seen]
        waiting.extend(fresh)
        seen.update(fresh)
    return None


def _name(event: dict[str, Any]) -> str:
    return str(event["name"]).removesuffix(_SUFFIX)


def _kind(event: dict[str, Any]) -> str:
    return str(event["args"]["op_name"]).removeprefix("Fused")


def _shapes(event: dict[str, Any], side: str) -> Shapes:
    return tuple(tuple(shape) for entry in event["args"].get(side, ()) for shape in entry.values())


def _names(events: list[dict[str, Any]], nodes: list[GraphNode | None]) -> list[str]:
    """Stable, unique names: the file's own, or for a reorder that of the node before (output) or after it (input)."""
    names = [node.name if node else _name(event) for node, event in zip(nodes, events, strict=True)]
    for i, event in enumerate(events):
        if _kind(event) == "ReorderOutput" and i > 0:
            names[i] = f"reorder after {names[i - 1]}"
    for i in reversed(range(len(events) - 1)):
        if _kind(events[i]) == "ReorderInput":
            names[i] = f"reorder before {names[i + 1]}"
    seen: Counter[str] = Counter()
    for i, name in enumerate(names):
        seen[name] += 1
        names[i] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return names


def _node_time(name: str, event: dict[str, Any], node: GraphNode | None, ms: float) -> NodeTime:
    inputs, outputs = _shapes(event, "input_type_shape"), _shapes(event, "output_type_shape")
    kind = _kind(event)
    if kind == "ReorderInput":
        outputs = inputs[:1]
    elif kind == "ReorderOutput":
        inputs = outputs[:1]
    elif node is not None and (known := _known(node)) is not None:
        inputs_known, outputs = known
        residuals = len(inputs) - len(inputs_known)  # an addition fused in: it has the output's shape
        inputs = inputs_known + outputs[:1] * max(residuals, 0)
    return NodeTime(name=name, kind=kind, ms=ms, inputs=inputs, outputs=outputs)


def _known(node: GraphNode) -> tuple[Shapes, Shapes] | None:
    """The logical shapes of the node's inputs and outputs, or None when inference left one open."""
    inputs = tuple(shape for shape in node.input_shapes if shape is not None)
    outputs = tuple(shape for shape in node.output_shapes if shape is not None)
    complete = len(inputs) == len(node.input_shapes) and len(outputs) == len(node.output_shapes)
    return (inputs, outputs) if complete else None
