"""The picture of a model's groups: what is shown, in which colours, as DOT and as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import deployprune.records as r
from deployprune.reporting.dot import render_dot
from deployprune.reporting.flow import FROZEN, FlowNode, draw_flow, group_colors
from deployprune.reporting.pictures.files import draw_analysis


def dims(group: str | None, size: int) -> tuple[r.DimForm, ...]:
    channels = r.DimForm(constant=size) if group is None else r.DimForm(constant=0, terms=((1.0, (group,)),))
    return (r.DimForm(constant=1), channels, r.DimForm(constant=8), r.DimForm(constant=8))


def layer(name: str, op: str, group: str | None, *sources: str, module: str = "", size: int = 16) -> r.LayerCost:
    return r.LayerCost(
        name=name,
        op=op,
        module=module,
        inputs=(),
        output=dims(group, size),
        contracts=op == "conv2d",
        reduced=(r.DimForm(constant=3),) if op == "conv2d" else (),
        sources=sources,
    )


def residual() -> r.Analysis:
    """A stem, a branch of two convolutions with a norm and an activation between, their sum, and a fixed head."""
    groups = tuple(
        r.ChannelGroup(name=name, kind="channel", size=size, axes=(), units=(), parameters=9, macs=9)
        for name, size in (("stem", 16), ("block.inner", 24))
    )
    layers = (
        layer("c0", "conv2d", "stem", module="stem"),
        layer("r0", "relu", "stem", "c0"),
        layer("c1", "conv2d", "block.inner", "r0", module="block.inner"),
        layer("n1", "batch_norm", "block.inner", "c1"),
        layer("r1", "relu", "block.inner", "n1"),
        layer("c2", "conv2d", "stem", "r1", module="block.outer"),
        layer("a", "add", "stem", "c2", "r0"),
        layer("h", "conv2d", None, "a", module='a "head"', size=10),
    )
    return r.Analysis(
        groups=groups, frozen=(), layers=layers, parameters=18, prunable_parameters=18, macs=18, prunable_macs=18
    )


def test_layers_and_meetings_are_shown_and_what_only_follows_is_not() -> None:
    nodes = draw_flow(residual())
    assert [node.label for node in nodes] == ["stem", "block.inner", "block.outer", "add", 'a "head"']
    assert [node.sources for node in nodes] == [(), ("c0",), ("c1",), ("c2", "c0"), ("a",)]
    assert [node.shape for node in nodes] == ["16x8x8", "24x8x8", "16x8x8", "16x8x8", "10x8x8"]
    assert [node.groups for node in nodes] == [("stem",), ("block.inner",), ("stem",), ("stem",), ()]


def test_every_group_has_a_colour_of_its_own() -> None:
    nodes = [FlowNode(name=str(i), label="", op="", shape="", groups=(str(i),), sources=()) for i in range(60)]
    assert len(set(group_colors(nodes).values())) == 60


def test_dot_has_boxes_in_the_colours_of_their_groups() -> None:
    text = render_dot(residual())
    colors = group_colors(draw_flow(residual()))
    assert text.startswith("digraph groups {")
    assert text.count("->") == 5
    assert '"c0" -> "a";' in text
    assert text.count(f'fillcolor="{colors["stem"]}"') == 3
    assert (
        f'"h" [label="a \\"head\\"\\nconv2d 10x8x8\\nstays whole", style="filled,rounded", fillcolor="{FROZEN}"' in text
    )


def test_the_picture_names_every_layer_and_its_group(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = draw_analysis(residual(), "net.pt", tmp_path / "groups.svg")
    words = [text.text for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert "Channel groups of net.pt" in words
    assert {"block.outer", "24x8x8", "add", "stays whole"} <= set(words)
    assert words.count("stem") == 4, "the layer, and what is pruned with it"
