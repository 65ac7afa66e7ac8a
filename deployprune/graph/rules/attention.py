"""Fused attention: two products with a softmax between them, whose scale must not change with the head dimension."""

from __future__ import annotations

import math

from deployprune.graph.labels import Labels
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value
from deployprune.graph.rules.contraction import product
from deployprune.graph.rules.masking import zeroed
from deployprune.graph.rules.pointwise import meet_all

__all__ = ["RULES"]


def _attention(call: Call) -> Labels:
    query, key, value = (call[name].labels for name in ("query", "key", "value"))
    if call.get("enable_gqa", False):
        # Query heads come in blocks per key head; neither may go alone.
        heads = frozenset({len(query.shape) - 3})
        query, key, value = (Labels(x.shape, call.atoms.stiffen(x.layers, heads)) for x in (query, key, value))
    shape = (*query.shape[:-1], key.shape[-2])
    swap = {d: d for d in range(len(key.shape) - 2)} | {
        len(key.shape) - 2: len(key.shape) - 1,
        len(key.shape) - 1: len(key.shape) - 2,
    }
    transposed = Labels(
        (*key.shape[:-2], key.shape[-1], key.shape[-2]), tuple(layer.moved(swap) for layer in key.layers)
    )
    scores = product(call, query, transposed, shape)
    mask: Value | None = call.get("attn_mask")
    if mask is not None:
        scores = meet_all(call, [Value(scores, call.result, False), mask], shape)
    scores = Labels(shape, call.atoms.stiffen(scores.layers, frozenset({len(shape) - 1})))
    return product(call, scores, value, call.result.shape)


def _explicit_scale(call: Rewrite) -> None:
    if call.arguments.get("scale") is None:
        call.set("scale", 1 / math.sqrt(call.shapes(call.arguments["query"])[-1]))


RULES: dict[str, Rule] = {"scaled_dot_product_attention": Rule(_attention, _explicit_scale, zeroed)}
