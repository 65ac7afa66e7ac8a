"""The rules of all operations, one module a family."""

from __future__ import annotations

from typing import Any

import torch

from deployprune.graph.rules import (
    assignment,
    attention,
    contraction,
    convolution,
    creation,
    einsum,
    folding,
    indexing,
    joining,
    movement,
    normalization,
    pointwise,
    recurrent,
    reduction,
    spectral,
)
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value
from deployprune.graph.rules.masking import MaskedCall, Operand

__all__ = ["Call", "MaskedCall", "Operand", "Rewrite", "Rule", "Value", "operation_name", "rule_for"]

_FAMILIES = (
    pointwise,
    movement,
    joining,
    folding,
    indexing,
    assignment,
    contraction,
    convolution,
    einsum,
    normalization,
    attention,
    recurrent,
    reduction,
    creation,
    spectral,
)
_RULES: dict[str, Rule] = {name: rule for family in _FAMILIES for name, rule in family.RULES.items()}


def operation_name(op: Any) -> str:
    """``aten::relu_`` and ``aten.relu.default`` are both ``relu``."""
    name: str = op._schema.name.split("::")[-1]
    return name.rstrip("_") if not name.startswith("__") else name


def rule_for(op: Any) -> Rule | None:
    """The rule of an ATen operation; element-wise ones are known by torch's own tag. None: no rule, so freeze."""
    if not isinstance(op, torch._ops.OpOverload) or op.namespace != "aten":
        return None
    rule = _RULES.get(operation_name(op))
    if rule is None and torch.Tag.pointwise in op.tags:
        return pointwise.POINTWISE
    return rule
