"""Runtimes that would report home, kept from it: deployprune sends nothing, and neither does what it imports."""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["forbid_telemetry"]


def forbid_telemetry() -> None:
    """Switch telemetry off, in this process and its children; call it before the first import of a runtime.

    ONNX Runtime (since 1.29 on Linux; onnxsim brings it along) starts it when it is imported unless the variable is
    set; ``disable_telemetry_events()`` comes too late. OpenVINO sends an event when it is imported, unless
    ``openvino_telemetry`` cannot be, for which it has a stub of its own.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    modules: dict[str, Any] = sys.modules  # None is how Python spells "cannot be imported"
    modules.setdefault("openvino_telemetry", None)
