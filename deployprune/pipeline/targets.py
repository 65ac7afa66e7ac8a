"""The conditions of a run: one target a backend, and what the budget means on each as a ratio to dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployprune.backends.devices.address import LOCAL, device_label
from deployprune.backends.registry import backend_of
from deployprune.config import Config, require_target
from deployprune.records import LatencyTable, Target

__all__ = ["goal_ratios", "target_key", "targets_of"]


def targets_of(config: Config) -> tuple[Target, ...]:
    """One target for each configured backend, each backend checked to be installed on its device.

    Raises BackendUnavailableError naming the command that installs a missing one.
    """
    settings = config.target
    targets = tuple(
        Target(
            backend=name,
            threads=settings.threads,
            precision=settings.precision,
            batch=settings.batch,
            device=settings.device,
        )
        for name in dict.fromkeys(settings.backends)
    )
    for target in targets:
        backend_of(target)
    return targets


def target_key(target: Target) -> str:
    """A short name for a target: ``onnxruntime-t1-f32-b1``, with ``-board-1a2b3c`` behind it on another device."""
    key = f"{target.backend}-t{target.threads}-{target.precision}-b{target.batch}"
    return key if target.device == LOCAL else f"{key}-{device_label(target.device)}"


def goal_ratios(config: Config, tables: Mapping[str, LatencyTable], keys: Sequence[str]) -> dict[str, float]:
    """The budget on each target as a share of the dense latency there.

    An absolute budget is held against the dense latency of the table, the device's reference speed.
    """
    require_target(config)
    factor, budget = config.target.speedup_factor, config.target.latency_ms
    if factor is not None:
        return dict.fromkeys(keys, 1.0 / factor)
    return {key: float(budget or 0.0) / tables[key].runs[0].total_ms for key in keys}
