"""Files timed against the dense one, as the benchmarks do it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployprune.backends.registry import fresh_backend
from deployprune.profiling.comparing import compare_files
from deployprune.records import Ratio, Target

__all__ = ["ratios_to_dense"]


def ratios_to_dense(target: Target, paths: Mapping[str, Path], seconds: float) -> dict[str, Ratio]:
    """The latency of every file but ``dense`` as a ratio to that one's, to 0.5 % where ``seconds`` allow for it.

    They are timed in a process of their own.
    """
    with fresh_backend(target) as backend:
        compared = compare_files(
            backend,
            target,
            paths,
            "dense",
            half_width=0.005,
            min_rounds=40,
            max_rounds=2000,
            budget_s=seconds,
            seed=1,
        )
    return {role: ratio for role, (_, ratio) in compared.items() if role != "dense"}
