"""Records to versioned JSON and back.

A file holds one envelope: the schema it follows, the hashes of what the record was made from, and the record::

    {"schema": "deployprune/plan/1", "inputs": {"20-analysis.json": "6f0c..."}, "record": {...}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from deployprune.errors import RunDirectoryError

__all__ = ["Envelope", "decode", "encode", "read_envelope", "readable", "schema_of", "to_json"]

T = TypeVar("T")
VERSION = 1
_LINE = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A record's wrapping, the record itself still undecoded."""

    schema: str
    record: msgspec.Raw
    inputs: dict[str, str] = field(default_factory=dict)


def schema_of(kind: type) -> str:
    """The schema name of a record type: ``LatencyTable`` is ``deployprune/latency-table/1``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()
    return f"deployprune/{words.removesuffix('-record')}/{VERSION}"


def encode(record: object, inputs: Mapping[str, str] | None = None) -> bytes:
    """A record as the bytes of its envelope.

    Raises RunDirectoryError for a record that could not be read back (a number that is not finite, a wrong type):
    better here, where the step that made it is still at work, than in the run that resumes from it.
    """
    kind = type(record)
    body = msgspec.json.encode(record, enc_hook=_plain)
    try:
        msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RunDirectoryError(f"the record {schema_of(kind)} cannot be kept: {error}") from error
    envelope = {"schema": schema_of(kind), "inputs": dict(inputs or {}), "record": msgspec.Raw(body)}
    return msgspec.json.encode(envelope) + b"\n"


def decode(data: bytes, kind: type[T], *, name: str = "record") -> T:
    """The record of type ``kind`` in the envelope ``data``; ``name`` is the file that an error will name.

    Raises RunDirectoryError for a truncated, damaged or foreign file.
    """
    envelope = read_envelope(data, name=name)
    expected = schema_of(kind)
    if envelope.schema != expected:
        raise RunDirectoryError(
            f"{name} follows the schema {envelope.schema!r}; this version of deployprune reads {expected!r}",
            hint="use the version of deployprune that made the run, or start a new run",
        )
    try:
        return msgspec.json.decode(envelope.record, type=kind)
    except msgspec.DecodeError as error:
        raise _damaged(name, error) from error


def read_envelope(data: bytes, *, name: str = "record") -> Envelope:
    """The envelope alone: schema and input hashes. Raises RunDirectoryError for a truncated or damaged file."""
    try:
        return msgspec.json.decode(data, type=Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(name, error) from error


def to_json(value: object) -> str:
    """Any record, or dict or list of records, as indented JSON for a person or another program to read."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()


def readable(data: bytes) -> bytes:
    """The same JSON laid out for people: everything that fits on a line stands on one line."""
    return (_laid_out(msgspec.json.decode(data), 0) + "\n").encode()


def _laid_out(value: Any, indent: int, before: int = 0) -> str:
    """``value`` behind ``before`` characters of its line; what does not fit is spread, ``indent`` deep."""
    line = _on_a_line(value)
    if indent + before + len(line) <= _LINE or not isinstance(value, dict | list):
        return line
    if isinstance(value, dict):
        keys = [f"{_on_a_line(key)}: " for key in value]
        parts = [key + _laid_out(item, indent + 1, len(key)) for key, item in zip(keys, value.values(), strict=True)]
    else:
        parts = [_laid_out(item, indent + 1) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    inner = "\n" + " " * (indent + 1)
    return f"{opening}{inner}{f',{inner}'.join(parts)}\n{' ' * indent}{closing}"


def _on_a_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _damaged(name: str, error: Exception) -> RunDirectoryError:
    return RunDirectoryError(
        f"{name} is truncated or damaged ({error})",
        hint=f"delete {name} and resume the run: it goes on from the step that wrote this file",
    )


def _plain(value: Any) -> Any:
    """A numpy or torch scalar as Python's own number, without importing either."""
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} is not plain data")
