"""The whole way, step by step: the only place that knows the order.

- ``doors``: what the command line and the Python interface call
- ``compress``: the order of the steps
- ``sweep``: several speed-ups, one run each
- ``run``: what the steps work on, and how each is done once and recorded
- ``preparing``, ``reducing``, ``concluding``: the steps before anything is decided, to the candidate, to the verdict
- ``crew``: several processes on one run
- ``workbench``: the model, analysis and data that the steps share
- ``targets``, ``limits``: backends and budgets, and what is limited beside latency
- ``narrowing``: which channel groups patterns mean, and how narrow each may get
- ``fleet``: work on several devices side by side
- ``reusing``, ``table_file``: latency tables from earlier runs
- ``tables``: measuring variants
- ``planning``, ``landing``, ``trials``, ``aiming``, ``bending``: the closed loop of plan, build and time
- ``scoring``: the importance of every unit
- ``recovering``, ``exporting``, ``cards``, ``verifying``, ``judging``: training, files, and the proof of both
- ``weights``: safetensors in and out
"""

from __future__ import annotations

from deployprune.pipeline.crew import assist, assist_sweep
from deployprune.pipeline.doors import compress, inspect_model, profile_model, verify_files
from deployprune.pipeline.sweep import sweep

__all__ = ["assist", "assist_sweep", "compress", "inspect_model", "profile_model", "sweep", "verify_files"]
