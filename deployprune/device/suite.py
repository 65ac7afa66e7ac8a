"""The reference suite: what edge models are made of, and the widths at which their steps and cliffs show.

The widths come in levels, so that a short measurement has a few of every sweep before a long one refines them.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployprune.device.layers import Definition

__all__ = ["MIDDLE", "REFERENCE", "SUITE", "SUITE_VERSION", "THREADED", "WIDE", "cells_by_level"]

SUITE_VERSION = 1  # raise it with every change below: tables of different suites cannot be merged
MIDDLE = 64  # channels at which layers are compared
WIDE = 512

REFERENCE = Definition(kind="linear", size=256, base=512)  # at WIDE: a matrix product near the peak, 1 to 3 ms

_FIRST = (32, 48, 63, 64, 65, 80)
_SECOND = (16, 24, 40, 44, 50, 52, 56, 60, 68, 70, 72, 76, 96, 128)
_THIRD = (34, 36, 38, 42, 46, 54, 58, 62, 66, 74)  # where a picture shows the stairs

_DETAILED = (
    Definition(kind="conv", kernel=3, size=28, base=64),
    Definition(kind="conv", kernel=1, size=28, base=128, repeats=2),
    Definition(kind="depthwise", kernel=3, size=28, repeats=8),
    Definition(kind="linear", size=196, base=192, repeats=2),
    Definition(kind="conv", kernel=3, size=14, base=128),
)
SUITE = (
    *_DETAILED,
    Definition(kind="conv", kernel=3, size=112, base=8),
    Definition(kind="conv", kernel=3, size=56, base=32),
    Definition(kind="conv", kernel=3, size=7, base=256),
    Definition(kind="conv", kernel=1, size=56, base=64),
    Definition(kind="conv", kernel=1, size=14, base=256, repeats=2),
    Definition(kind="conv", kernel=1, size=7, base=512, repeats=4),
    Definition(kind="conv", kernel=5, size=28, base=32),
    Definition(kind="conv", kernel=7, size=14, base=32),
    Definition(kind="strided", kernel=3, stride=2, size=224, base=3),
    Definition(kind="strided", kernel=7, stride=2, size=224, base=3),
    Definition(kind="strided", kernel=3, stride=2, size=56, base=64),
    Definition(kind="depthwise", kernel=3, size=112, repeats=2),
    Definition(kind="depthwise", kernel=3, size=56, repeats=4),
    Definition(kind="depthwise", kernel=3, size=14, repeats=16),
    Definition(kind="depthwise", kernel=5, size=14, repeats=8),
    Definition(kind="depthwise", kernel=7, size=28, repeats=4),
    Definition(kind="grouped", kernel=3, size=28, base=64, groups=4),
    Definition(kind="grouped", kernel=3, size=14, base=256, groups=16),
    Definition(kind="transposed", kernel=2, stride=2, size=28, base=64),
    Definition(kind="transposed", kernel=4, stride=2, size=14, base=64),
    Definition(kind="linear", size=1, base=1024, repeats=8),
    Definition(kind="linear", size=49, base=384, repeats=2),
    Definition(kind="attention", size=196, base=192, groups=3),
    Definition(kind="attention", size=49, base=192, groups=3, repeats=2),
    Definition(kind="layer norm", size=784, repeats=4),
    Definition(kind="instance norm", size=28, repeats=4),
    Definition(kind="nearest resize", size=28, repeats=2),
    Definition(kind="bilinear resize", size=28, repeats=2),
)
THREADED = (SUITE[0], SUITE[1], SUITE[2], SUITE[3], SUITE[6])  # how threads scale is shown on these, and the reference


def cells_by_level() -> Iterator[tuple[Definition, tuple[int, ...]]]:
    """The suite in the order of measuring: a few widths of every definition, then more, then the finest."""
    for level, chosen in ((_FIRST, SUITE), (_SECOND, SUITE), (_THIRD, _DETAILED)):
        for definition in chosen:
            yield definition, level
