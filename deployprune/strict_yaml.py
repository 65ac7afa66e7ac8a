"""YAML that is one mapping, without what YAML itself lets pass: a key that stands there twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deployprune.errors import UsageError

if TYPE_CHECKING:
    import yaml

__all__ = ["read_mapping"]

_FORM = "write sections and their settings, such as `target: {speedup: 2x}`"
_KINDS: dict[type, str] = {list: "a list", int: "a number", float: "a number", bool: "a truth value"}


def read_mapping(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text, empty for an empty text; ``where`` names it in errors.

    Raises UsageError, with line and column, for a text that is not YAML, and for a key that is given twice.
    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _refuse_twice(node, where)
        values = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error, where) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not valid YAML: {error}", hint="save it as plain text in UTF-8") from error
    finally:
        loader.dispose()
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected keys and values, got {_KINDS.get(type(values), 'text')}", hint=_FORM)
    return values


def _refuse_twice(root: yaml.Node | None, where: str) -> None:
    import yaml

    nodes, visited = [root], set[int]()  # an alias can lead back to where it stands
    while nodes:
        node = nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            _refuse_same([key for key, _ in node.value if isinstance(key, yaml.ScalarNode)], where)
            nodes.extend(value for _, value in node.value)


def _refuse_same(keys: Sequence[yaml.ScalarNode], where: str) -> None:
    lines: dict[str, int] = {}
    for key in keys:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise UsageError(
                f"{where}, line {line}: `{key.value}` is given a second time, after line {lines[key.value]}",
                hint="only one of the two could count: join them",
            )
        lines[key.value] = line


def _unreadable(error: yaml.MarkedYAMLError, where: str) -> UsageError:
    mark = error.problem_mark
    place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    problem = " ".join(str(error.problem or error).split())
    tabs = "'\\t'" in problem
    return UsageError(
        f"{where}{place} is not valid YAML: {problem}",
        hint="indent with spaces: YAML takes no tabs" if tabs else "check quotes, brackets and indentation there",
    )
