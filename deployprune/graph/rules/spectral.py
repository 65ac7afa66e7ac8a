"""Fourier transforms and complex numbers: nothing goes along what is transformed, everything beside it may."""

from __future__ import annotations

from deployprune.graph.labels import Labels
from deployprune.graph.rules.base import Call, Rule, Value, named

__all__ = ["RULES"]


def _transform(call: Call) -> Labels:
    x: Value = call["self"]
    return _still(call, frozenset(dim % x.ndim for dim in call["dim"]))


def _still(call: Call, dims: frozenset[int]) -> Labels:
    """The first tensor's labels, nothing of it going along ``dims``."""
    return Labels(tuple(call.result.shape), call.atoms.stiffen(call["self"].labels.layers, dims))


def _pairs(call: Call) -> Labels:
    """The last dimension holds a number's two parts."""
    return _still(call, frozenset({call["self"].ndim - 1}))


RULES: dict[str, Rule] = {
    **named("_fft_r2c _fft_c2c _fft_c2r", Rule(_transform)),
    "view_as_complex": Rule(_pairs),
    "view_as_real": Rule(lambda call: _still(call, frozenset())),
}
