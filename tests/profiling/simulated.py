"""Small analyses, and a made-up runtime whose law is known: a staircase, a cliff off the alignment, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deployprune.profiling.table import choose_variants
from deployprune.records import (
    Analysis,
    ChannelGroup,
    DimForm,
    Host,
    LatencyTable,
    LayerCost,
    NodeTime,
    Target,
    VariantRun,
)

HOST = Host(cpu="made up", isa=(), cores=2, memory_bytes=0, governor="unknown", os="", python="", versions={})


def fixed(size: int) -> DimForm:
    return DimForm(constant=size)


def summed(*names: str) -> DimForm:
    return DimForm(constant=0, terms=tuple((1.0, (name,)) for name in names))


def product(*names: str) -> DimForm:
    return DimForm(constant=0, terms=((1.0, names),))


def group(name: str, size: int, minimum: int = 1, step: int = 1) -> ChannelGroup:
    units = tuple({"w": {0: (i,)}} for i in range(size))
    return ChannelGroup(
        name=name, kind="channel", size=size, axes=(), units=units, parameters=0, macs=0, minimum=minimum, step=step
    )


def conv(name: str, source: DimForm, result: DimForm, kernel: int, side: int, *, depthwise: bool = False) -> LayerCost:
    one, window, edge = fixed(1), fixed(kernel), fixed(side)
    depth = fixed(1) if depthwise else source
    return LayerCost(
        name=name,
        op="conv2d",
        module="",
        inputs=((one, source, edge, edge), (result, depth, window, window)),
        output=(one, result, edge, edge),
        contracts=True,
        reduced=(depth, window, window),
    )


def linear(name: str, source: DimForm, result: DimForm, tokens: int) -> LayerCost:
    return LayerCost(
        name=name,
        op="linear",
        module="",
        inputs=((fixed(1), fixed(tokens), source), (result, source)),
        output=(fixed(1), fixed(tokens), result),
        contracts=True,
        reduced=(source,),
    )


def pointwise(name: str, channels: DimForm, side: int) -> LayerCost:
    shape = (fixed(1), channels, fixed(side), fixed(side))
    return LayerCost(name=name, op="relu", module="", inputs=(shape,), output=shape, contracts=False)


def analysis(groups: Sequence[ChannelGroup], layers: Sequence[LayerCost]) -> Analysis:
    return Analysis(
        groups=tuple(groups),
        frozen=(),
        layers=tuple(layers),
        parameters=0,
        prunable_parameters=0,
        macs=0,
        prunable_macs=0,
    )


def plain_net() -> Analysis:
    """Convolutions in series with a depthwise one among them, and a group ``idle`` that nothing depends on."""
    sizes = {"a": 32, "b": 64, "c": 128, "d": 128, "e": 256, "idle": 64}
    a, b, c, d, e = (summed(name) for name in "abcde")
    layers = [
        conv("stem", fixed(3), a, 3, 56),
        conv("one", a, b, 3, 28),
        pointwise("relu", b, 28),
        conv("two", b, c, 1, 28),
        conv("deep", c, c, 3, 14, depthwise=True),
        conv("three", c, d, 3, 14),
        conv("four", d, e, 3, 7),
        linear("head", e, fixed(100), 1),
    ]
    return analysis([group(name, size) for name, size in sizes.items()], layers)


def concat_net() -> Analysis:
    """A densely connected block: inputs are sums of up to five groups."""
    names = ["stem", "g0", "g1", "g2", "g3"]
    layers = [conv("stem", fixed(3), summed("stem"), 3, 28)]
    layers += [conv(f"dense{i}", summed(*names[: i + 1]), summed(f"g{i}"), 3, 28) for i in range(4)]
    layers += [pointwise("join", summed(*names), 28), conv("last", summed(*names), summed("out"), 1, 28)]
    groups = [group("stem", 64), *(group(f"g{i}", 32) for i in range(4)), group("out", 256)]
    return analysis(groups, layers)


def joined_net() -> Analysis:
    """A densely connected block with the concatenations as operations of their own."""
    names = ["stem", "g0", "g1", "g2", "g3"]
    layers = [conv("stem", fixed(3), summed("stem"), 3, 28)]
    for i in range(4):
        layers += [conv(f"dense{i}", summed(*names[: i + 1]), summed(f"g{i}"), 3, 28), joining(names[: i + 2])]
    layers += [conv("last", summed(*names), summed("out"), 1, 28)]
    groups = [group("stem", 64), *(group(f"g{i}", 32) for i in range(4)), group("out", 256)]
    return analysis(groups, layers)


def joining(names: Sequence[str]) -> LayerCost:
    """What the last of the groups is concatenated with."""
    edge, head, tail = fixed(28), summed(*names[:-1]), summed(names[-1])
    inputs = tuple((fixed(1), channels, edge, edge) for channels in (head, tail))
    output = (fixed(1), summed(*names), edge, edge)
    return LayerCost(
        name=f"join {names[-1]}", op="cat", module="", inputs=inputs, output=output, contracts=False, reduced=()
    )


def thin_net() -> Analysis:
    """A thin stem before wide layers, as in MobileNets."""
    sizes = {"stem": 24, "a": 96, "b": 32, "c": 192}
    stem, a, b, c = (summed(name) for name in sizes)
    layers = [
        conv("first", fixed(3), stem, 3, 56),
        conv("widen", stem, a, 1, 56),
        conv("narrow", a, b, 1, 28),
        conv("again", b, c, 1, 28),
        linear("head", c, fixed(100), 1),
    ]
    return analysis([group(name, size, minimum=4) for name, size in sizes.items()], layers)


def attention_net() -> Analysis:
    """Two transformer blocks: projections as wide as heads x head dimension."""
    groups, layers = [group("embed", 192)], []
    for i in range(2):
        groups += [group(f"heads{i}", 6), group(f"dim{i}", 32), group(f"hidden{i}", 384)]
        inner, embed = product(f"heads{i}", f"dim{i}"), summed("embed")
        layers += [linear(f"{part}{i}", embed, inner, 64) for part in ("q", "k", "v")]
        layers += [linear(f"o{i}", inner, embed, 64), linear(f"up{i}", embed, summed(f"hidden{i}"), 64)]
        layers += [linear(f"down{i}", summed(f"hidden{i}"), embed, 64)]
    return analysis(groups, layers)


@dataclass(frozen=True)
class Runtime:
    """A runtime that rounds channels up to ``step``, pays ``cliff`` off multiples of 4, and swings by ``noise``."""

    step: int = 16
    cliff: float = 1.0
    noise: float = 0.02
    renames: bool = False
    threads: int = 1

    def run(self, net: Analysis, widths: dict[str, int], rng: np.random.Generator) -> VariantRun:
        nodes = tuple(self._node(layer, widths, rng) for layer in net.layers)
        swing = rng.normal(1.0, self.noise)
        return VariantRun(widths=widths, total_ms=(1.06 * sum(node.ms for node in nodes) + 0.03) * swing, nodes=nodes)

    def _node(self, layer: LayerCost, widths: dict[str, int], rng: np.random.Generator) -> NodeTime:
        inputs = [tuple(form.size(widths) for form in shape) for shape in layer.inputs]
        output = tuple(form.size(widths) for form in layer.output)
        name, kind = layer.name, "Conv" if layer.op == "conv2d" else layer.op
        if self.renames and kind == "Conv":
            name, kind = (f"node_{name}", "FusedConv") if _off(layer, widths) else (f"{name}_out_nchwc", "Conv")
        ms = self._ms(layer, widths) * rng.normal(1.0, self.noise)
        return NodeTime(name=name, kind=kind, ms=ms, inputs=tuple(inputs), outputs=(output,))

    def _ms(self, layer: LayerCost, widths: dict[str, int]) -> float:
        work = math.prod(self._padded(form, widths) for form in (*layer.output, *layer.reduced))
        moved = math.prod(self._padded(form, widths) for form in layer.output)
        cliff = self.cliff if _off(layer, widths) else 1.0
        return 0.004 + (2e-8 * work if layer.contracts else 0.0) * cliff + 2e-7 * moved

    def _padded(self, form: DimForm, widths: dict[str, int]) -> int:
        size = form.size(widths)
        return -(-size // self.step) * self.step if form.groups else size

    def table(self, net: Analysis, runs: int = 28, seed: int = 0) -> LatencyTable:
        rng = np.random.default_rng(seed)
        variants = choose_variants(net.groups, runs, seed)
        return LatencyTable(
            target=Target(backend="made up", threads=self.threads),
            host=HOST,
            model_sha256="",
            channel_step=self.step,
            noise=self.noise,
            runs=tuple(self.run(net, widths, rng) for widths in variants),
            seconds=0.0,
        )

    def unseen(self, net: Analysis, count: int = 20, seed: int = 99, step: int = 4) -> list[VariantRun]:
        """Variants on multiples of ``step`` channels, 30 to 100 % of every group, without noise."""
        rng = np.random.default_rng(seed)
        exact = replace(self, noise=0.0)
        runs = []
        for _ in range(count):
            shares = rng.uniform(0.3, 1.0, len(net.groups)) * rng.uniform(0.7, 1.0)
            widths = {
                g.name: max(1, round(g.size * share / step) * step if g.size > 8 else round(g.size * share))
                for g, share in zip(net.groups, shares, strict=True)
            }
            runs.append(exact.run(net, widths, rng))
        return runs


@dataclass(frozen=True)
class PackedRuntime(Runtime):
    """A runtime that keeps 16, 8, 4 or 1 channels together and multiplies matrices in tiles of 16, 8, 4, 2 or 1."""

    def _ms(self, layer: LayerCost, widths: dict[str, int]) -> float:
        outputs = layer.output[1].size(widths)
        area = math.prod(form.size(widths) for form in layer.output[2:])
        depth = math.prod(form.size(widths) for form in layer.reduced)
        if layer.op == "conv2d" and not layer.reduced[0].groups and layer.output[1].groups:
            slower = next(rate for pack, rate in ((16, 1.0), (8, 1.4), (4, 2.1), (1, 7.8)) if outputs % pack == 0)
            return 0.001 + 2e-8 * area * depth * outputs * slower
        tiles = outputs // 16, outputs // 8 % 2, outputs // 4 % 2, outputs // 2 % 2, outputs % 2
        rates = 52.0, 52.0, 24.0, 17.0, 24.0
        return 0.001 + 4e-9 * area * depth * sum(count * rate for count, rate in zip(tiles, rates, strict=True))


@dataclass(frozen=True)
class ThinRuntime(Runtime):
    """A runtime on two threads that reads inputs of fewer than 16 channels with a kernel of its own.

    There threads share the rows of sets of 64 outputs: beyond one set the first thread has whole sets alone.
    """

    threads: int = 2

    def _ms(self, layer: LayerCost, widths: dict[str, int]) -> float:
        inputs, outputs = layer.inputs[0][1], layer.output[1]
        if not inputs.groups or layer.op != "conv2d" or inputs.size(widths) >= 16:
            return super()._ms(layer, widths)
        size = outputs.size(widths)
        counted = -(-size // 16) * 16 if size <= 64 else -(-size // 64) * 64
        area = math.prod(form.size(widths) for form in (*layer.output[2:], *layer.reduced))
        return 0.004 + 5e-8 * area * counted


@dataclass(frozen=True)
class ReorderingRuntime(Runtime):
    """A runtime that keeps multiples of 4 channels in blocks of 16.

    It reorders them where a convolution's other side is no multiple of 4, and where what is concatenated is no whole
    number of blocks.
    """

    def run(self, net: Analysis, widths: dict[str, int], rng: np.random.Generator) -> VariantRun:
        plain = super().run(net, widths, rng)
        extra = tuple(node for layer in net.layers for node in self._reorders(layer, widths))
        total = plain.total_ms + 1.06 * sum(node.ms for node in extra)
        return replace(plain, nodes=(*plain.nodes, *extra), total_ms=total)

    def _reorders(self, layer: LayerCost, widths: dict[str, int]) -> list[NodeTime]:
        inputs = [tuple(form.size(widths) for form in shape) for shape in layer.inputs]
        output = tuple(form.size(widths) for form in layer.output)
        aligned = [shape[1] % 4 == 0 for shape in (inputs[0], output)]
        if layer.op == "cat" and any(shape[1] % 16 for shape in inputs):
            moved = output
        elif layer.op == "conv2d" and layer.inputs[0][1].groups and aligned[0] != aligned[1]:
            moved = inputs[0] if aligned[0] else output
        else:
            return []
        name, ms = f"reorder_{layer.name}", 4e-7 * math.prod(moved)
        return [NodeTime(name=name, kind="Reorder", ms=ms, inputs=(moved,), outputs=(moved,))]


@dataclass(frozen=True)
class UnalignedRuntime(Runtime):
    """A runtime whose whole runs pay for what is written off multiples of 16 channels, unseen by its profiler."""

    def run(self, net: Analysis, widths: dict[str, int], rng: np.random.Generator) -> VariantRun:
        plain = super().run(net, widths, rng)
        written = [tuple(form.size(widths) for form in layer.output) for layer in net.layers if _off(layer, widths, 16)]
        return replace(plain, total_ms=plain.total_ms + 4e-7 * sum(map(math.prod, written)))


def _off(layer: LayerCost, widths: dict[str, int], alignment: int = 4) -> bool:
    return any(form.size(widths) % alignment for form in (*layer.output, *layer.reduced) if form.groups)
