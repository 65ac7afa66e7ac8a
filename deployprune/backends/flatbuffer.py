"""Reading flatbuffers by field number, where no generated reader comes along."""

from __future__ import annotations

from typing import Any

__all__ = ["FlatTable", "root_table"]


class FlatTable:
    """One table; fields are numbered in the order in which the schema declares them (a union takes two numbers)."""

    __slots__ = ("_table",)

    def __init__(self, table: Any) -> None:
        self._table = table

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """The scalar in ``field``, whose type is named as flatbuffers does (``Int32``, ``Uint64``)."""
        from flatbuffers import number_types

        flags = getattr(number_types, f"{kind}Flags")
        offset = self._offset(field)
        return int(self._table.Get(flags, self._table.Pos + offset)) if offset else default

    def text(self, field: int) -> str:
        """The string in ``field``, or nothing."""
        offset = self._offset(field)
        return bytes(self._table.String(self._table.Pos + offset)).decode() if offset else ""

    def table(self, field: int) -> FlatTable | None:
        """The table in ``field`` (for a union, the field after its type)."""
        offset = self._offset(field)
        return self._at(self._table.Indirect(self._table.Pos + offset)) if offset else None

    def tables(self, field: int) -> list[FlatTable]:
        """The vector of tables in ``field``."""
        start, length = self._vector(field)
        return [self._at(self._table.Indirect(start + 4 * index)) for index in range(length)]

    def numbers(self, field: int, kind: str) -> tuple[int, ...]:
        """The vector of scalars in ``field``."""
        from flatbuffers import number_types

        flags = getattr(number_types, f"{kind}Flags")
        start, length = self._vector(field)
        return tuple(int(self._table.Get(flags, start + flags.bytewidth * index)) for index in range(length))

    def content(self, field: int) -> bytes:
        """The vector of bytes in ``field``."""
        start, length = self._vector(field)
        return bytes(self._table.Bytes[start : start + length])

    def _offset(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))

    def _vector(self, field: int) -> tuple[int, int]:
        offset = self._offset(field)
        return (self._table.Vector(offset), self._table.VectorLen(offset)) if offset else (0, 0)

    def _at(self, position: int) -> FlatTable:
        return FlatTable(type(self._table)(self._table.Bytes, position))


def root_table(content: bytes, offset: int = 0) -> FlatTable:
    """The root of the flatbuffer that begins at ``offset``."""
    from flatbuffers.encode import Get
    from flatbuffers.packer import uoffset
    from flatbuffers.table import Table

    return FlatTable(Table(content, Get(uoffset, content, offset) + offset))
