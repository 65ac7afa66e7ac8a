"""Whether a Python distribution is installed, found out without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from deployprune.records import Availability

__all__ = ["installed"]


def installed(name: str, distribution: str, hint: str, *others: str) -> Availability:
    """The availability of backend ``name``, which needs ``distribution`` and ``others`` beside it.

    ``hint`` is the command that installs them.
    """
    needs = (distribution, *others)
    try:
        found = [version(needed) for needed in needs]
        return Availability(name=name, available=True, version=found[0], needs=needs)
    except PackageNotFoundError:
        return Availability(name=name, available=False, hint=hint, needs=needs)
