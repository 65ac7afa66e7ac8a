"""Values from outside as a tree of settings; what is wrong is named by its place, in words."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from deployprune.errors import UsageError
from deployprune.settings import list_settings

__all__ = ["validate"]

S = TypeVar("S", bound=msgspec.Struct)
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "keys and values",
    "str": "text",
}


def validate(tree: type[S], values: Mapping[str, Any], where: str) -> S:
    """``values`` as a ``tree``; raises UsageError naming ``where`` and the path of what is wrong.

    Unknown keys are answered with the known key that looks most like them. Text is read as the number or truth value
    that a setting needs, because environment variables and YAML's ``1e-3`` are text.
    """
    _refuse_unknown(tree, values, where, "$")
    try:
        return msgspec.convert(values, tree, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        path = place.strip("`") or "$"
        raise UsageError(f"{where}: {path}: {_in_words(message)}", hint=_meaning(tree, path)) from error
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from error


def _refuse_unknown(tree: type[msgspec.Struct], values: Any, where: str, path: str) -> None:
    if not isinstance(values, Mapping):
        return
    fields = {field.name: field.type for field in msgspec.structs.fields(tree)}
    for key, value in values.items():
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            guess = f", did you mean `{close[0]}`?" if close else ""
            raise UsageError(
                f"{where}: {path}.{key}: unknown key{guess}",
                hint=f"known keys of {path} are {', '.join(fields)}",
            )
        for part, inner, place in _parts(fields[key], value, f"{path}.{key}"):
            _refuse_unknown(part, inner, where, place)


def _parts(kind: Any, value: Any, path: str) -> Iterator[tuple[type[msgspec.Struct], Any, str]]:
    """The sections in a setting, alone, in a list or in a mapping: each one's type, value and path."""
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind, value, path
    elif typing.get_origin(kind) is list and isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _parts(typing.get_args(kind)[0], item, f"{path}[{index}]")
    elif typing.get_origin(kind) is dict and isinstance(value, Mapping):
        for name, item in value.items():
            yield from _parts(typing.get_args(kind)[1], item, f"{path}[{str(name)!r}]")


def _meaning(tree: type[msgspec.Struct], path: str) -> str | None:
    for setting in list_settings(tree):
        if path.removeprefix("$.").split("[")[0] == setting.name:
            choices = f" (one of {', '.join(setting.choices)})" if setting.choices else ""
            return f"{setting.help}{choices}"
    return None


def _in_words(message: str) -> str:
    """msgspec's message with what a type is called outside of programs: ``expected a whole number >= 1``."""
    words = re.sub(r"`(\w+)`", lambda found: _KINDS.get(found[1], found[0]), message)
    return words[:1].lower() + words[1:]
