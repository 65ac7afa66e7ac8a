"""ncnn's layers timed one by one: a blob is computed when it is asked for, so asking in order times each layer."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from deployprune.backends.ncnn_file import NcnnFile, NcnnLayer
from deployprune.records import NodeTime

if TYPE_CHECKING:
    import numpy as np

__all__ = ["typical_times"]

_WARM_UP = 3
_AS_IT_IS = 1  # extract a blob in the layout it has; 0 would unpack it, and count that
_UNPACKED = 0
Shape = tuple[int, ...]


class _Session(Protocol):
    """What is asked of a session of :mod:`deployprune.backends.ncnn`."""

    @property
    def file(self) -> NcnnFile: ...

    @property
    def net(self) -> Any: ...

    def blobs(self, feeds: dict[str, np.ndarray]) -> list[Any]: ...

    def extractor(self, blobs: list[Any]) -> Any: ...


def typical_times(session: _Session, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
    """The median ms over ``runs`` of every layer that computes, with its logical shapes and weights."""
    blobs = session.blobs(feeds)
    layers = [layer for layer in session.net.layers() if layer.type != "Input"]
    for _ in range(_WARM_UP):
        _time_layers(session, blobs, layers)
    samples = defaultdict(list)
    for _ in range(runs):
        for name, ms in _time_layers(session, blobs, layers).items():
            samples[name].append(ms)
    shapes = _shapes(session, blobs)
    written = {layer.name: layer for layer in session.file.layers}
    return tuple(_node(layer, median(samples[layer.name]), shapes, written[layer.name]) for layer in layers)


def _time_layers(session: _Session, blobs: list[Any], layers: list[Any]) -> dict[str, float]:
    """Milliseconds by layer, without what asking takes: that is what asking for the same again takes.

    What is extracted is dropped at once, for in-place layers copy what others hold.
    """
    extractor = session.extractor(blobs)
    took = {}
    for layer in layers:
        first, again = (_time_extraction(extractor, layer.tops) for _ in range(2))
        took[layer.name] = max(first - again, 0) / 1e6
    return took


def _time_extraction(extractor: Any, numbers: list[int]) -> int:
    start = time.perf_counter_ns()
    for number in numbers:
        extractor.extract(number, _AS_IT_IS)
    return time.perf_counter_ns() - start


def _shapes(session: _Session, blobs: list[Any]) -> dict[int, Shape]:
    """(batch, channels, ...) of every blob by its number."""
    extractor = session.extractor(blobs)
    numbers = [top for layer in session.net.layers() for top in layer.tops]
    return {number: _shape(extractor.extract(number, _UNPACKED)[1]) for number in numbers}


def _shape(blob: Any) -> Shape:
    sizes = {1: (blob.w,), 2: (blob.h, blob.w), 3: (blob.c, blob.h, blob.w), 4: (blob.c, blob.d, blob.h, blob.w)}
    return (blob.n, *sizes.get(blob.dims, ()))


def _node(layer: Any, ms: float, shapes: dict[int, Shape], written: NcnnLayer) -> NodeTime:
    operands = [shapes[number] for number in layer.bottoms]
    return NodeTime(
        name=layer.name,
        kind=layer.type,
        ms=ms,
        inputs=(*operands, *written.weight_shapes()),
        outputs=tuple(shapes[number] for number in layer.tops),
    )
