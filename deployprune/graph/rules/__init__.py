"""The rules of all operations, one module a family."""

from __future__ import annotations

from typing import Any

import torch

from deployprune.graph.rules import (
    assignment,
    attention,
    contraction,
    creation,
    movement,
    normalization,
    pointwise,
    recurrent,
    reduction,
)
from deployprune.graph.rules.base import Call, Rewrite, Rule, Value
from deployprune.graph.rules.masking import MaskedCall, Operand

__all__ = ["Call", "MaskedCall", "Operand", "Rewrite", "Rule", "Value", "operation_name", "rule_for"]

_RULES: dict[str, Rule] = {
    **pointwise.RULES,
    **movement.RULES,
    **contraction.RULES,
    **normalization.RULES,
    **attention.RULES,
    **reduction.RULES,
    **creation.RULES,
    **assignment.RULES,
    **recurrent.RULES,
}


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
