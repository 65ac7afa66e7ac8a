"""A model as a picture shows it: the layers that weigh something and the places where paths meet, in one order.

What only follows one of them (a normalisation, an activation, a reshape) is left out, and its source takes its place.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployprune.records import Analysis, LayerCost

__all__ = ["FROZEN", "FlowNode", "draw_flow", "group_colors"]

FROZEN = "#c3cad3"
_GOLDEN = 0.61803398875  # of a turn: hues that are far apart however many there are
_LIGHTNESS = (0.38, 0.5)
_SATURATION = 0.52


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """One layer or meeting: ``label`` names it, ``shape`` is what it gives without the batch, ``groups`` what of that
    can be pruned, and ``sources`` the nodes before it."""

    name: str
    label: str
    op: str
    shape: str
    groups: tuple[str, ...]
    sources: tuple[str, ...]


def draw_flow(analysis: Analysis) -> tuple[FlowNode, ...]:
    """The nodes in the order they are computed."""
    widths = analysis.dense_widths()
    known = {layer.name for layer in analysis.layers}
    stands_for: dict[str, tuple[str, ...]] = {}
    nodes = []
    for layer in analysis.layers:
        before = (stands_for[source] for source in layer.sources if source in known)
        sources = tuple(dict.fromkeys(name for names in before for name in names))
        if not layer.contracts and len(sources) < 2:
            stands_for[layer.name] = sources
            continue
        stands_for[layer.name] = (layer.name,)
        nodes.append(_node(layer, sources, widths))
    return tuple(nodes)


def _node(layer: LayerCost, sources: tuple[str, ...], widths: dict[str, int]) -> FlowNode:
    groups = (name for form in layer.output for name in form.groups)
    return FlowNode(
        name=layer.name,
        label=layer.module if layer.contracts and layer.module else layer.op,
        op=layer.op,
        shape="x".join(str(form.size(widths)) for form in layer.output[1:]),
        groups=tuple(dict.fromkeys(groups)),
        sources=sources,
    )


def group_colors(nodes: Sequence[FlowNode]) -> Mapping[str, str]:
    """A colour for every group, as ``#rrggbb``, in the order in which they appear."""
    names = dict.fromkeys(name for node in nodes for name in node.groups)
    return {name: _color(index) for index, name in enumerate(names)}


def _color(index: int) -> str:
    lightness = _LIGHTNESS[index % len(_LIGHTNESS)]
    channels = colorsys.hls_to_rgb((0.48 + index * _GOLDEN) % 1.0, lightness, _SATURATION)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
