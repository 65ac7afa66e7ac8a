"""Whether a Python distribution is installed, found out without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from deployprune.records import Availability

__all__ = ["installed"]


def installed(name: str, distribution: str, hint: str) -> Availability:
    """The availability of backend ``name``, which needs ``distribution``; ``hint`` is the command that installs it."""
    try:
        return Availability(name=name, available=True, version=version(distribution))
    except PackageNotFoundError:
        return Availability(name=name, available=False, hint=hint)
