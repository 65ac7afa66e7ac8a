"""The whole way, step by step: the only place that knows the order.

- ``compress``: the steps of a run over its directory
- ``workbench``: the model, analysis and data that the steps share
- ``targets``: backends and budgets
- ``tables``, ``planning``: measuring variants, and the closed loop of plan, build and time
- ``recovering``, ``exporting``, ``verifying``: training, files and proof
- ``weights``: safetensors in and out
"""

from __future__ import annotations

from deployprune.pipeline.doors import compress, inspect_model, profile_model, verify_files

__all__ = ["compress", "inspect_model", "profile_model", "verify_files"]
