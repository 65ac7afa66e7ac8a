"""Small made-up networks, and runtimes that time them by staircases of their own, with a bias for every plan."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from deployprune.pipeline.trials import Problem, Timed
from deployprune.profiling.table import choose_variants
from deployprune.records import (
    Analysis,
    ChannelGroup,
    DimForm,
    Host,
    LatencyTable,
    LayerCost,
    NodeTime,
    Ratio,
    Target,
    VariantRun,
)

_GOALS = (0.4, 0.85)
HOST = Host(cpu="made up", isa=(), cores=1, memory_bytes=0, governor="", os="", python="", versions={})


def fixed(size: int) -> DimForm:
    return DimForm(constant=size)


def group(name: str, size: int) -> ChannelGroup:
    units = tuple({name: {0: (i,)}} for i in range(size))
    return ChannelGroup(
        name=name, kind="channel", size=size, axes=(), units=units, parameters=0, macs=0, minimum=max(1, size // 10)
    )


def random_net(rng: np.random.Generator) -> Analysis:
    """Four to six convolutions in series, wider as the image shrinks."""
    side, width = int(rng.choice([16, 28, 32])), int(rng.choice([32, 48]))
    groups, layers = [], []
    source = fixed(3)
    for index in range(int(rng.integers(4, 7))):
        if index and rng.random() < 0.4 and side > 4:
            side, width = side // 2, width * 2
        result = DimForm(constant=0, terms=((1.0, (f"g{index}",)),))
        groups.append(group(f"g{index}", width))
        layers.append(_conv(f"conv{index}", source, result, int(rng.choice([1, 3, 3])), side))
        source = result
    return Analysis(
        groups=tuple(groups),
        frozen=(),
        layers=tuple(layers),
        parameters=0,
        prunable_parameters=0,
        macs=0,
        prunable_macs=0,
    )


def _conv(name: str, source: DimForm, result: DimForm, kernel: int, side: int) -> LayerCost:
    window, edge = fixed(kernel), fixed(side)
    return LayerCost(
        name=name,
        op="conv2d",
        module="",
        inputs=((fixed(1), source, edge, edge), (result, source, window, window)),
        output=(fixed(1), result, edge, edge),
        contracts=True,
        reduced=(source, window, window),
    )


@dataclass(frozen=True)
class Runtime:
    """Rounds channels up to ``step``, pays ``cliff`` off multiples of 4, and is off by ``bias`` in a way of its own
    for each plan, which comes again whenever that plan is timed."""

    step: int
    rate: float
    moving: float
    cliff: float
    bias: float
    noise: float
    seed: int

    @staticmethod
    def random(rng: np.random.Generator) -> Runtime:
        return Runtime(
            step=int(rng.choice([4, 8, 16])),
            rate=float(rng.uniform(1e-8, 4e-8)),
            moving=float(rng.uniform(1e-7, 3e-7)),
            cliff=float(rng.choice([1.0, 1.1, 1.4])),
            bias=0.015,
            noise=0.003,
            seed=int(rng.integers(2**31)),
        )

    def nodes(self, net: Analysis, widths: dict[str, int]) -> tuple[NodeTime, ...]:
        return tuple(self._node(layer, widths) for layer in net.layers)

    def total_ms(self, net: Analysis, widths: dict[str, int], turn: int = 0) -> float:
        """Like the nodes, with this plan's bias, and this measurement's noise."""
        plain = 0.01 + sum(node.ms for node in self.nodes(net, widths))
        return plain * (1 + self.bias * self._draw(widths, 0)) * (1 + self.noise * self._draw(widths, turn + 1))

    def _draw(self, widths: dict[str, int], turn: int) -> float:
        key = repr((sorted(widths.items()), turn, self.seed)).encode()
        return float(np.clip(np.random.default_rng(zlib.crc32(key)).normal(), -2, 2))

    def _node(self, layer: LayerCost, widths: dict[str, int]) -> NodeTime:
        dims = (*layer.output, *layer.reduced)
        off = any(form.size(widths) % 4 for form in dims if form.groups)
        work = math.prod(self._padded(form, widths) for form in dims) * (self.cliff if off else 1.0)
        moved = math.prod(self._padded(form, widths) for form in layer.output)
        inputs = tuple(tuple(form.size(widths) for form in shape) for shape in layer.inputs)
        output = tuple(form.size(widths) for form in layer.output)
        ms = 0.002 + self.rate * work + self.moving * moved
        return NodeTime(name=layer.name, kind="Conv", ms=ms, inputs=inputs, outputs=(output,))

    def _padded(self, form: DimForm, widths: dict[str, int]) -> int:
        size = form.size(widths)
        return -(-size // self.step) * self.step if form.groups else size

    def table(self, net: Analysis, seed: int) -> LatencyTable:
        variants = choose_variants(net.groups, 40, seed)
        runs = [VariantRun(widths=w, total_ms=self.total_ms(net, w), nodes=self.nodes(net, w)) for w in variants]
        return LatencyTable(
            target=Target(backend="made up"),
            host=HOST,
            model_sha256="",
            channel_step=self.step,
            noise=self.bias,
            runs=tuple(runs),
            seconds=0.0,
        )


@dataclass(frozen=True)
class Bench:
    """A problem on made-up runtimes, and how long its widths really take.

    ``spells`` are, by target, the factors by which the ratios of one sitting after another are off; 1 behind their end.
    """

    problem: Problem
    runtimes: dict[str, Runtime]
    timed: list[dict[str, int]]
    spells: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @staticmethod
    def random(seed: int, targets: int, *, alike: bool = False) -> Bench:
        """A made-up problem; runtimes that are ``alike`` differ by up to a tenth and in their biases."""
        rng = np.random.default_rng(seed)
        net = random_net(rng)
        runtimes = {"target0": Runtime.random(rng)}
        for index in range(1, targets):
            other = Runtime.random(rng)
            if alike:
                other = replace(
                    runtimes["target0"], seed=other.seed, rate=runtimes["target0"].rate * rng.uniform(1, 1.1)
                )
            runtimes[f"target{index}"] = other
        goal = float(rng.uniform(*_GOALS))
        problem = Problem(
            analysis=net,
            groups=net.groups,
            importance={g.name: rng.lognormal(0.0, 1.0, g.size) * rng.uniform(0.3, 2.0) for g in net.groups},
            tables={key: runtime.table(net, seed) for key, runtime in runtimes.items()},
            goals=dict.fromkeys(runtimes, goal),
        )
        return Bench(problem=problem, runtimes=runtimes, timed=[])

    def stopwatch(self, plans: Sequence[dict[str, int]], turn: int) -> list[dict[str, Timed]]:
        self.timed.extend(plans)
        return [{key: self._timed(key, widths, turn) for key in self.runtimes} for widths in plans]

    def _timed(self, key: str, widths: dict[str, int], turn: int) -> Timed:
        spell = dict(enumerate(self.spells.get(key, ()))).get(turn, 1.0)
        ratio = self._ratio(key, widths, turn).over(1 / spell)
        return Timed(ratio=ratio, nodes=self.runtimes[key].nodes(self.problem.analysis, widths))

    def shares(self, widths: dict[str, int]) -> dict[str, float]:
        """What the widths take by another measurement, in shares of the goals."""
        return {key: self._ratio(key, widths, 99).value / goal for key, goal in self.problem.goals.items()}

    def _ratio(self, key: str, widths: dict[str, int], turn: int) -> Ratio:
        value = self.runtimes[key].total_ms(self.problem.analysis, widths, turn) / self.problem.dense_ms(key)
        return Ratio(value=value, low=value * 0.995, high=value * 1.005)
