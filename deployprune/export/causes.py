"""What a failed export says to the user: the error that it began with, in one line."""

from __future__ import annotations

__all__ = ["first_cause"]


def first_cause(error: BaseException) -> str:
    """The first line of the error that began a chain: what the exporters wrap around it is advice to their authors."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
