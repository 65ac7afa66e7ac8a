"""deployprune: make a PyTorch model meet a latency budget on the runtime it ships to, and prove it.

The steps of ``deployprune compress`` as functions; each is imported when it is first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployprune.api import (
        analyze,
        compress,
        export,
        finetune,
        load_model,
        load_pruned,
        plan,
        profile,
        prune,
        sweep,
        verify,
    )

__all__ = [
    "analyze",
    "compress",
    "export",
    "finetune",
    "load_model",
    "load_pruned",
    "plan",
    "profile",
    "prune",
    "sweep",
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("deployprune.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """This package, in which the function ``export`` goes before the room of that name, loaded or not.

    Python sets a room as an attribute of its package when it is first imported; ``from deployprune.export.onnx import``
    needs no such attribute.
    """

    @property
    def export(self) -> Any:
        """The function of :mod:`deployprune.api`."""
        return __getattr__("export")

    @export.setter
    def export(self, room: ModuleType) -> None:
        """Leave the room where imports find it, in ``sys.modules``."""


sys.modules[__name__].__class__ = _Package
