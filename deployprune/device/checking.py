"""Whether a table still holds on this device: one cell a kind of layer, measured again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from deployprune.backends.registry import device_of
from deployprune.device.identity import require_same_device
from deployprune.device.layers import Definition
from deployprune.device.measuring import measure_cells
from deployprune.device.records import CellCheck, DeviceCheck, DeviceTable, quiet_ms
from deployprune.device.suite import MIDDLE
from deployprune.progress import Task
from deployprune.records import Ratio, Verdict
from deployprune.stats import bootstrap_ratio, half_width

__all__ = ["check_table", "judge_check"]

_ROUNDS = 25
_TOLERANCE = 0.1
_STRAYS = 0.2  # share of the layers that may be out of place before the table is


def check_table(name: str, table: DeviceTable, *, force: bool, seed: int, task: Task) -> DeviceCheck:
    """Measure one cell of every kind of layer again, and judge.

    The device's speed now is the layers' median latency over the table's; a layer is out of place where its own ratio
    differs from that by more than the tolerance. Raises UsageError for a table of another device, unless ``force``.
    """
    require_same_device(name, table.host, device_of(table.target.device).host(), table.target.backend, force=force)
    chosen = list(_chosen(table))
    threads = table.target.threads
    wanted = {str(index): (definition, width, threads) for index, (definition, width, _) in enumerate(chosen)}
    task.update(0.1, note=f"{len(wanted)} layers")
    with TemporaryDirectory(prefix="deployprune-check-") as folder:
        samples = measure_cells(wanted, table.target, Path(folder), rounds=_ROUNDS, seed=seed)
    relative = [
        [sample / table_ms for sample in samples[key]] for key, (_, _, table_ms) in zip(wanted, chosen, strict=True)
    ]
    rounds = [median(values) for values in zip(*relative, strict=True)]
    speed = bootstrap_ratio(rounds, [1.0] * len(rounds), seed=seed)
    cells = tuple(
        CellCheck(
            definition=definition,
            width=width,
            table_ms=table_ms,
            now_ms=quiet_ms(samples[key]),
            ratio=bootstrap_ratio(values, rounds, seed=seed),
        )
        for key, (definition, width, table_ms), values in zip(wanted, chosen, relative, strict=True)
    )
    verdict, reason = judge_check(speed, [cell.ratio for cell in cells])
    return DeviceCheck(
        verdict=verdict,
        reason=reason,
        speed=speed,
        noise=max(half_width(speed), table.noise),
        tolerance=_TOLERANCE,
        cells=cells,
    )


def judge_check(speed: Ratio, layers: Sequence[Ratio]) -> tuple[Verdict, str]:
    """PASS when the speed and nearly all layers are surely within the tolerance, FAIL when they surely are not."""
    strays = sum(_outside(ratio) for ratio in layers)
    said = f"layers take {speed.value:.2f}x [{speed.low:.2f}, {speed.high:.2f}] what the table says"
    if _outside(speed):
        return Verdict.FAIL, f"{said}: measure the device again"
    if strays > _STRAYS * len(layers):
        return Verdict.FAIL, f"{strays} of {len(layers)} layers are out of place: measure the device again"
    if max(abs(speed.low - 1.0), abs(speed.high - 1.0)) > _TOLERANCE:
        return Verdict.INCONCLUSIVE, f"{said}: the machine is too noisy to tell"
    return Verdict.PASS, f"{said}, and {len(layers) - strays} of {len(layers)} layers are in place"


def _outside(ratio: Ratio) -> bool:
    """Whether the whole interval is beyond the tolerance around one."""
    return ratio.low > 1.0 + _TOLERANCE or ratio.high < 1.0 - _TOLERANCE


def _chosen(table: DeviceTable) -> Iterator[tuple[Definition, int, float]]:
    """The reference and one cell of every kind: its width nearest to the middle, and its ms in the table."""
    yield table.reference, table.reference_width, table.reference_quiet_ms
    seen: set[str] = set()
    for sweep in table.sweeps:
        if sweep.definition.kind not in seen:
            seen.add(sweep.definition.kind)
            points = table.points(sweep)
            width = min(points, key=lambda width: (abs(width - MIDDLE), width))
            yield sweep.definition, width, points[width]
