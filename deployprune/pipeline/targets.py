"""The conditions of a run: its targets, what each is called in files, and what the budget means on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployprune.backends.devices.address import LOCAL, device_label
from deployprune.backends.registry import backend_of
from deployprune.config import Config, require_target
from deployprune.records import LatencyTable, Target

__all__ = ["goal_ratio", "goal_ratios", "target_key", "targets_of"]


def targets_of(config: Config) -> tuple[Target, ...]:
    """The configured targets, each with its backend checked to be installed on its device.

    Raises BackendUnavailableError naming the command that installs a missing one.
    """
    targets = tuple(config.budgets)
    for target in targets:
        backend_of(target)
    return targets


def target_key(target: Target) -> str:
    """A short name for a target: ``onnxruntime-t1-f32-b1``, with ``-board-1a2b3c`` behind it on another device."""
    key = f"{target.backend}-t{target.threads}-{target.precision}-b{target.batch}"
    return key if target.device == LOCAL else f"{key}-{device_label(target.device)}"


def goal_ratio(config: Config, target: Target, dense_ms: float) -> float:
    """The budget on ``target`` as a share of the dense latency there; 1 where there is none."""
    budget = config.budgets[target]
    if budget.latency_ms is not None:
        return budget.latency_ms / dense_ms
    return 1.0 / (budget.speedup_factor or 1.0)


def goal_ratios(config: Config, tables: Mapping[str, LatencyTable], keys: Sequence[str]) -> dict[str, float]:
    """The budget on each target as a share of the dense latency there.

    An absolute budget is held against the dense latency of the table, the device's reference speed. Raises UsageError
    for a target without a budget.
    """
    require_target(config)
    targets = {target_key(target): target for target in config.budgets}
    return {key: goal_ratio(config, targets[key], tables[key].runs[0].total_ms) for key in keys}
