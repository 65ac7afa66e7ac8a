"""A model's channel groups as a graph in DOT, the language of Graphviz: ``dot -Tsvg groups.dot``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployprune.records import Analysis
from deployprune.reporting.flow import FROZEN, FlowNode, draw_flow, group_colors

__all__ = ["render_dot"]


def render_dot(analysis: Analysis) -> str:
    """Layers as boxes in the colours of their output's groups, grey where nothing of it can be pruned."""
    nodes = draw_flow(analysis)
    colors = group_colors(nodes)
    return "\n".join(
        (
            "digraph groups {",
            '  graph [rankdir=TB, nodesep=0.3, ranksep=0.35, fontname="Helvetica"];',
            '  node [shape=box, fontname="Helvetica", fontsize=10, fontcolor=white, penwidth=0];',
            '  edge [color="#6b7785", arrowsize=0.6];',
            *(_box(node, colors) for node in nodes),
            *(edge for node in nodes for edge in _edges(node)),
            "}",
            "",
        )
    )


def _box(node: FlowNode, colors: Mapping[str, str]) -> str:
    told = f"{node.op} {node.shape}" if node.label != node.op else node.shape
    lines = [node.label, told, ", ".join(node.groups) or "stays whole"]
    style = "striped" if len(node.groups) > 1 else "filled,rounded"
    fill = ":".join(colors[name] for name in node.groups) or FROZEN
    ink = "" if node.groups else ', fontcolor="#1f2933"'
    label = "\\n".join(_escaped(line) for line in lines)
    return f'  "{_escaped(node.name)}" [label="{label}", style="{style}", fillcolor="{fill}"{ink}];'


def _edges(node: FlowNode) -> Iterator[str]:
    for source in node.sources:
        yield f'  "{_escaped(source)}" -> "{_escaped(node.name)}";'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
