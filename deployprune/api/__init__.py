"""``deployprune`` as functions, for Python; :mod:`deployprune` offers them by name.

- ``models``: models in and out
- ``runs``: compress, sweep and verify
- ``steps``: what a run is made of, one by one
"""

from __future__ import annotations

from deployprune.api.models import load_model, load_pruned
from deployprune.api.runs import compress, sweep, verify
from deployprune.api.steps import export, plan, profile, prune
from deployprune.graph.analysis import analyze
from deployprune.training.recovery import finetune

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
