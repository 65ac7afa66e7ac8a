"""Telling whether the text of an exported program is plain: torch evaluates parts of it and writes others into code.

A list of what is allowed, since a list of what is dangerous would never be complete: core operators, arithmetic on
symbols, and dotted names. Skipped are a node's ``metadata`` (stack traces, only kept) and ``guards_code`` (the caller
must not ask for guards).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from torch.utils._sympy import functions as sympy_functions

__all__ = ["find_unsafe_text"]

_WORDS = {"target": "operator", "as_operator": "operator", "expr_str": "expression", "in_spec": "input structure"}
_OPERATOR_KEYS = frozenset({"target", "as_operator"})
_ARGUMENT_KEYS = frozenset({"as_string", "as_strings", "torch_version"})
_OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|prims)\.(?!from_file)[a-z_]\w*\.\w+"
    r"|torch\.ops\.higher_order\.(?:cond|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(?:ceil|floor|trunc|sqrt)"
    r"|torch\.sym_\w+"
)
_NAME = re.compile(r"(?!__)(?:(?!\.__)[\w.:\-])*")
_TEXT = re.compile(r"[\w.,:<>=+*\- ]*")
_SPEC_KEYS = frozenset({"in_spec", "out_spec", "treespec"})
_SYMBOL = re.compile(r"[a-z]+\d+")
_SYMPY = frozenset(("Symbol", "Integer", "Float", "Rational", "Max", "Min", "Abs", "Mod", "Add", "Mul", "Pow")).union(
    ("floor", "ceiling", "sqrt", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Piecewise")
)
_PLAIN_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.BoolOp,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.boolop,
    ast.Load,
    ast.keyword,
)


def find_unsafe_text(program: dict[str, Any]) -> str | None:
    """The first text in a serialized program (its parsed JSON) that is not plain, in words, or None."""
    checked = {key: value for key, value in program.items() if key != "guards_code"}
    unsafe = next(((key, text) for key, text in _texts(checked, "") if not _is_plain(key, text)), None)
    return None if unsafe is None else f"the {_WORDS.get(unsafe[0], 'name')} {unsafe[1][:60]!r}"


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in the JSON value with the key that it stands under; the keys of maps are texts too."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)
    elif isinstance(value, dict):
        is_node = isinstance(value.get("target"), str)  # a tensor may be called metadata, too
        for name, item in value.items():
            yield "", name
            if not (is_node and name == "metadata"):
                yield from _texts(item, name)


def _is_plain(key: str, text: str) -> bool:
    if key in _OPERATOR_KEYS:
        return bool(_OPERATOR.fullmatch(text))
    if key == "expr_str":
        return _is_plain_expression(text)
    if key in _SPEC_KEYS:
        return _is_plain_spec(text)
    return bool(_TEXT.fullmatch(text) if key in _ARGUMENT_KEYS else _NAME.fullmatch(text))


def _is_plain_spec(text: str) -> bool:
    """A tree specification is JSON in a text, and its contexts may be JSON in a text again."""
    if not text.startswith(("[", "{", '"')):
        return bool(_NAME.fullmatch(text))
    try:
        inner = json.loads(text)
    except ValueError:
        return False
    return all(_is_plain_spec(part) for _, part in _texts(inner, ""))


def _is_plain_expression(text: str) -> bool:
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    functions = _SYMPY.union(sympy_functions.__all__)
    return all(_is_plain_node(node, functions) for node in ast.walk(tree))


def _is_plain_node(node: ast.AST, functions: frozenset[str]) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in functions
    if isinstance(node, ast.Name):
        return node.id in functions or bool(_SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or bool(_SYMBOL.fullmatch(node.value))
    return isinstance(node, _PLAIN_NODES)
