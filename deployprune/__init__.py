"""deployprune: make a PyTorch model meet a latency budget on the runtime it ships to, and prove it.

The steps of ``deployprune compress`` as functions; each is imported when it is first used, so that importing the
package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
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
    "verify",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("deployprune.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
