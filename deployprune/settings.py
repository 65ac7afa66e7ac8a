"""A tree of settings seen as one flat list: what the file, the environment and the command line all set.

The tree is made of frozen ``msgspec.Struct`` classes whose fields carry their help, flag and limits with
:func:`about`; nothing about a setting is written anywhere else.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

__all__ = ["Section", "Setting", "about", "list_settings", "merge", "unflatten"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all sections are: frozen, and strict about their keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its place in the tree, its type without annotations, its default, help and flag.

    ``flag_only`` settings are refused in files and in the environment, ``file_only`` ones have neither flag nor
    variable. ``argument`` settings are the positional argument of a command and have no flag.
    """

    path: tuple[str, ...]
    type: Any
    default: Any
    help: str
    flag: str
    metavar: str | None
    flag_only: bool
    file_only: bool
    argument: bool

    @property
    def name(self) -> str:
        """The dotted path: ``recovery.epochs``."""
        return ".".join(self.path)

    @property
    def is_list(self) -> bool:
        """Whether several values may be given."""
        return any(typing.get_origin(kind) is list for kind in _alternatives(self.type))

    @property
    def is_mapping(self) -> bool:
        """Whether ``key=value`` pairs are given."""
        return typing.get_origin(self.type) is dict

    @property
    def is_bool(self) -> bool:
        """Whether it is switched on and off."""
        return self.type is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it is limited to; empty where any value may stand."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()


def about(
    help_text: str,
    *,
    flag: str | None = None,
    metavar: str | None = None,
    flag_only: bool = False,
    file_only: bool = False,
    argument: bool = False,
    **limits: Any,
) -> msgspec.Meta:
    """The annotation of one setting: its help, its flag (default ``--key``) and msgspec's limits (``ge=0``)."""
    extra = {
        "flag": flag,
        "metavar": metavar,
        "flag_only": flag_only,
        "file_only": file_only,
        "argument": argument,
    }
    return msgspec.Meta(description=help_text, extra=extra, **limits)


def list_settings(tree: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Every setting of ``tree`` in the order of its definition."""
    for field in msgspec.structs.fields(tree):
        place = (*path, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from list_settings(field.type, place)
            continue
        kind, meta = typing.get_args(field.type)
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        yield Setting(
            path=place,
            type=kind,
            default=default,
            help=meta.description,
            flag=meta.extra["flag"] or f"--{field.name.replace('_', '-')}",
            metavar=meta.extra["metavar"],
            flag_only=meta.extra["flag_only"],
            file_only=meta.extra["file_only"],
            argument=meta.extra["argument"],
        )


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested dictionaries as one; where both have a value, the one of ``upper`` stays."""
    merged = dict(lower)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def unflatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"recovery.epochs": 3}`` as ``{"recovery": {"epochs": 3}}``."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *sections, key = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[key] = value
    return tree


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return (kind, *(part for part in typing.get_args(kind) if part is not type(None)))
