"""The agent as one zip: the few modules of this package that a device needs, the same bytes for the same sources."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

__all__ = ["agent_package"]

_PACKAGE = Path(__file__).parents[2]
_ROOMS = ("backends", "records")
_MODULES = ("__init__", "codec", "errors", "files", "host", "processes", "progress", "settings", "stats", "units")
_WHEN = (1980, 1, 1, 0, 0, 0)


@cache
def agent_package() -> bytes:
    """The backends and what they are allowed to import, readable by Python as it is."""
    files = [_PACKAGE / f"{name}.py" for name in _MODULES]
    for room in _ROOMS:
        files += sorted((_PACKAGE / room).rglob("*.py"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = file.relative_to(_PACKAGE.parent).as_posix()
            archive.writestr(zipfile.ZipInfo(name, _WHEN), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
