"""The proof is worth something only if it fails: every family of rules is broken in turn, and must be caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import test_rules_attention
import test_rules_contraction
import test_rules_indexing
import test_rules_movement
import test_rules_normalization
import test_rules_recurrent
import test_rules_reduction
import test_rules_spectral
from plans import random_plan
from rule_cases import Case, analyze_case

from deployprune.errors import ParityError
from deployprune.graph import rules
from deployprune.graph.labels import Labels, Layer
from deployprune.graph.rules import Call, Rule
from deployprune.graph.rules.masking import plain

Break = Callable[[Rule], Rule]


def backwards(rule: Rule) -> Rule:
    """The result's labels turned round."""

    def turn(labels: Labels) -> Labels:
        return Labels(labels.shape, tuple(Layer(x.dims, x.ids[::-1].copy()) for x in labels.layers))

    def run(call: Call) -> Labels | list[Labels]:
        result = rule.labels(call)
        return [turn(labels) for labels in result] if isinstance(result, list) else turn(result)

    return dataclasses.replace(rule, labels=run)


def first_operand(rule: Rule) -> Rule:
    """The result's labels those of the first operand, the others forgotten."""
    return dataclasses.replace(
        rule, labels=lambda call: Labels(tuple(call.result.shape), call.operands[0].labels.layers)
    )


def without_rewrite(rule: Rule) -> Rule:
    """Sizes and indices in the call left as they are."""
    return dataclasses.replace(rule, rewrite=None)


def unmasked(rule: Rule) -> Rule:
    """The twin sums, or takes statistics, over what is removed as well."""
    return dataclasses.replace(rule, masking=plain)


CONTRACTION, MOVEMENT = test_rules_contraction.CASES, test_rules_movement.CASES
NORMALIZATION, REDUCTION = test_rules_normalization.CASES, test_rules_reduction.CASES
ATTENTION, RECURRENT = test_rules_attention.CASES, test_rules_recurrent.CASES
INDEXING, SPECTRAL = test_rules_indexing.CASES, test_rules_spectral.CASES

BROKEN: list[tuple[str, Break, Case]] = [
    ("linear", backwards, CONTRACTION["linear"]),
    ("linear", unmasked, CONTRACTION["linear"]),
    ("conv2d", backwards, CONTRACTION["conv2d"]),
    ("conv2d", unmasked, CONTRACTION["conv2d"]),
    ("conv2d", without_rewrite, CONTRACTION["grouped"]),
    ("conv_transpose2d", backwards, CONTRACTION["transposed"]),
    ("matmul", backwards, CONTRACTION["matmul with a parameter"]),
    ("einsum", backwards, CONTRACTION["einsum"]),
    ("einsum", unmasked, CONTRACTION["einsum with an ellipsis"]),
    ("addmm", backwards, CONTRACTION["addmm"]),
    ("embedding", backwards, CONTRACTION["embedding"]),
    ("flip", first_operand, MOVEMENT["flip"]),
    ("roll", first_operand, MOVEMENT["roll"]),
    ("roll", without_rewrite, MOVEMENT["roll"]),
    ("cat", backwards, MOVEMENT["cat"]),
    ("stack", backwards, MOVEMENT["interleaved"]),
    ("split_with_sizes", without_rewrite, MOVEMENT["split"]),
    ("slice", backwards, MOVEMENT["slice with a step"]),
    ("slice", without_rewrite, MOVEMENT["slice with a step"]),
    ("index", backwards, MOVEMENT["index"]),
    ("index", without_rewrite, MOVEMENT["index"]),
    ("index_put", first_operand, MOVEMENT["written over tokens"]),
    ("pad", backwards, MOVEMENT["pad of channels"]),
    ("pad", without_rewrite, MOVEMENT["pad of channels"]),
    ("view", without_rewrite, MOVEMENT["windows"]),
    ("expand", without_rewrite, CONTRACTION["one kernel for all channels"]),
    ("repeat_interleave", backwards, MOVEMENT["repeat_interleave"]),
    ("pixel_shuffle", backwards, MOVEMENT["pixel shuffle"]),
    ("channel_shuffle", first_operand, MOVEMENT["channel shuffle"]),
    ("im2col", backwards, MOVEMENT["unfold"]),
    ("col2im", backwards, MOVEMENT["fold"]),
    ("upsample_nearest2d", backwards, MOVEMENT["nearest"]),
    ("batch_norm", first_operand, NORMALIZATION["batch norm"]),
    ("batch_norm", backwards, NORMALIZATION["batch norm"]),
    ("layer_norm", backwards, NORMALIZATION["layer norm"]),
    ("layer_norm", without_rewrite, NORMALIZATION["layer norm"]),
    ("layer_norm", unmasked, NORMALIZATION["layer norm"]),
    ("group_norm", without_rewrite, NORMALIZATION["group norm"]),
    ("group_norm", unmasked, NORMALIZATION["group norm"]),
    ("group_norm", backwards, NORMALIZATION["group norm"]),
    ("instance_norm", backwards, NORMALIZATION["instance norm"]),
    ("rms_norm", unmasked, NORMALIZATION["rms norm"]),
    ("_weight_norm", backwards, NORMALIZATION["weight norm"]),
    ("linalg_vector_norm", unmasked, NORMALIZATION["unit length"]),
    ("mean", unmasked, NORMALIZATION["rms norm by hand"]),
    ("sum", unmasked, REDUCTION["sum"]),
    ("softmax", unmasked, REDUCTION["softmax"]),
    ("amax", unmasked, REDUCTION["amax"]),
    ("glu", backwards, REDUCTION["glu"]),
    ("prelu", backwards, REDUCTION["prelu"]),
    ("mul", first_operand, REDUCTION["gate of two layers"]),
    ("mul", backwards, REDUCTION["gate of two layers"]),
    ("scaled_dot_product_attention", backwards, ATTENTION["fused projection"]),
    ("scaled_dot_product_attention", without_rewrite, ATTENTION["fused projection"]),
    ("gather", backwards, INDEXING["gather of tokens"]),
    ("repeat", without_rewrite, INDEXING["gather by score"]),
    ("scatter", backwards, INDEXING["scatter"]),
    ("masked_scatter", backwards, INDEXING["rows under a mask"]),
    ("max_unpool2d", backwards, INDEXING["unpooling"]),
    ("narrow", without_rewrite, MOVEMENT["narrow"]),
    ("grid_sampler", backwards, INDEXING["deformable"]),
    ("embedding_bag", backwards, INDEXING["bag of rows"]),
    ("cdist", unmasked, INDEXING["distances"]),
    ("_fft_r2c", backwards, SPECTRAL["filter"]),
    ("view_as_complex", backwards, SPECTRAL["parts as channels"]),
    ("lstm", backwards, RECURRENT["lstm"]),
    ("lstm", unmasked, RECURRENT["lstm"]),
    ("gru", backwards, RECURRENT["gru"]),
]


@pytest.mark.parametrize(("op", "broken", "case"), BROKEN, ids=[f"{op}-{how.__name__}" for op, how, _ in BROKEN])
def test_a_broken_rule_is_caught(monkeypatch: pytest.MonkeyPatch, op: str, broken: Break, case: Case) -> None:
    monkeypatch.setitem(rules._RULES, op, broken(rules._RULES[op]))
    with pytest.raises(ParityError):
        _prune_often(case)


def _prune_often(case: Case) -> None:
    analysis = analyze_case(case)
    for seed in range(3):
        analysis.prune(random_plan(analysis, seed), trials=1)
