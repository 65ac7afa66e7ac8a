"""Neighbourhoods and channels turned into each other: pixel and channel shuffles, unfolding and folding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployprune.graph.labels import Ids, Labels
from deployprune.graph.rules import resizing
from deployprune.graph.rules.base import Call, Rule, Value
from deployprune.graph.rules.movement import within

__all__ = ["RULES"]


def _shuffle_channels(call: Call) -> Labels:
    """Groups must stay equally long: reading the channels as (group, member) makes their mask an outer product."""
    x: Value = call["self"]
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {1})
    call.atoms.layers(((0, 1), layer.ids.reshape(call["groups"], -1)) for layer in layers)
    return call.atoms.move(Labels(x.labels.shape, layers), call.run, call.result.shape)


def _shuffle_pixels(call: Call) -> Labels:
    """The channels that become one pixel's neighbours go together."""
    x: Value = call["self"]
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {x.ndim - 3})
    for layer in layers:
        blocks = layer.ids.reshape(-1, call["upscale_factor"] ** 2)
        call.atoms.unite(blocks[:, :1], blocks)
    return call.atoms.move(Labels(x.labels.shape, layers), call.run, call.result.shape)


def _fold(call: Call) -> Labels:
    """col2im: the kernel positions of a channel are added up."""
    x: Value = call["self"]
    block = int(np.prod(call["kernel_size"]))
    axis = x.ndim - 2
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {axis})
    parts: list[tuple[Sequence[int], Ids]] = []
    for layer in layers:
        ids = layer.ids.reshape(-1, block)
        call.atoms.unite(ids[:, :1], ids)
        parts.append(((call.result.ndim - 3,), ids[:, 0]))
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


def _unfold(call: Call) -> Labels:
    """im2col: every channel becomes a block of kernel positions."""
    x: Value = call["self"]
    block = int(np.prod(call["kernel_size"]))
    layers = call.atoms.stiffen(x.labels.layers, frozenset(range(x.ndim)) - {x.ndim - 3})
    parts = [((x.ndim - 3,), np.repeat(layer.ids, block)) for layer in layers]
    return Labels(tuple(call.result.shape), call.atoms.layers(parts))


RULES: dict[str, Rule] = {
    "pixel_shuffle": Rule(_shuffle_pixels),
    "pixel_unshuffle": Rule(within()),
    "channel_shuffle": Rule(_shuffle_channels, resizing.count_shuffle_groups),
    "unfold": Rule(within("dimension")),
    "im2col": Rule(_unfold),
    "col2im": Rule(_fold),
}
