"""The end of a run: every file timed against dense in the same rounds, its accuracy, its memory, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployprune.backends.registry import device_of
from deployprune.pipeline.cards import measured_accuracy
from deployprune.pipeline.exporting import artifact_path, sparse_artifact_path
from deployprune.pipeline.fleet import on_devices
from deployprune.pipeline.judging import Timing, conclude, judge_target, time_target
from deployprune.pipeline.limits import check_limits, onnx_bytes
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Part, Task
from deployprune.records import (
    SPARSE_ROLE,
    LatencyTable,
    ModelCard,
    ParityResult,
    Plan,
    Target,
    VerificationRecord,
)
from deployprune.steps import ExportRecord
from deployprune.verification.speedup import SITTINGS

__all__ = ["Contender", "verify_targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One side of the comparison: its files, and how much it holds and computes."""

    role: str
    export: ExportRecord
    parameters: int
    nonzero_parameters: int
    macs: int

    @property
    def counts(self) -> dict[str, int]:
        """What limits are for."""
        return {"parameters": self.parameters, "macs": self.macs, "size": onnx_bytes(self.export)}


def verify_targets(
    bench: Workbench,
    contenders: Sequence[Contender],
    tables: Mapping[str, LatencyTable],
    plan: Plan,
    root: Path,
    task: Task,
) -> VerificationRecord:
    """Measure all contenders (the first is dense) on every target, and judge the candidate on each."""
    _ = bench.labelled_data, bench.metric  # found once, before several threads ask for them
    sides = {target: _sides(contenders, root, target) for target in bench.targets}

    def describe(target: Target, part: Task) -> list[ModelCard]:
        cards = []
        for index, (contender, path) in enumerate(sides[target]):
            part.update(index / len(sides[target]), note=contender.role)
            cards.append(_card(bench, contender, target, path, root))
        return cards

    sittings = {target: _sittings(bench, target, sides[target], tables, plan) for target in bench.targets}
    timings: dict[Target, Timing] = {}

    def take_turns(part: Task) -> None:
        found = on_devices(bench.targets, lambda target, own: _sit(sittings[target], own), part)
        timings.update((target, timing) for target, timing in found.items() if timing is not None)

    # Between the sittings of one target all others are timed, and before the second the cards are made: the more time
    # lies between them, the less likely all are in one of the machine's spells. Cards are made apart, because what they
    # take keeps cores busy that another device's thread may be timed on.
    take_turns(Part(task, 0.0, 0.2))
    cards = on_devices(bench.targets, describe, Part(task, 0.2, 0.6))
    for number in range(1, SITTINGS):
        take_turns(Part(task, 0.4 + 0.2 * number, 0.6 + 0.2 * number))
    results = [judge_target(bench.config, timings[target], cards[target]) for target in bench.targets]
    dense, candidate = contenders[0], next(contender for contender in contenders if contender.role == "candidate")
    return conclude(results, check_limits(bench.config, dense.counts, candidate.counts))


def _sittings(
    bench: Workbench,
    target: Target,
    sides: Sequence[tuple[Contender, Path]],
    tables: Mapping[str, LatencyTable],
    plan: Plan,
) -> Iterator[Timing]:
    key = target_key(target)
    reference, goal = tables[key].runs[0].total_ms, plan.target_ratio[key]
    paths = {contender.role: path for contender, path in sides}
    return time_target(bench.config, target, paths, reference_ms=reference, goal=goal)


def _sit(sittings: Iterator[Timing], part: Task) -> Timing | None:
    part.update(0.0, note="timing the files in turns")
    return next(sittings, None)


def _sides(contenders: Sequence[Contender], root: Path, target: Target) -> list[tuple[Contender, Path]]:
    """What is timed on a target: every contender's file, and the twin's for sparse kernels where it has one."""
    sides = [(contender, artifact_path(contender.export, root, target)) for contender in contenders]
    for contender in contenders:
        path = sparse_artifact_path(contender.export, root, target)
        if path is not None:
            sides.append((replace(contender, role=SPARSE_ROLE), path))
    return sides


def _card(bench: Workbench, contender: Contender, target: Target, path: Path, root: Path) -> ModelCard:
    name = path.relative_to(root).as_posix()
    return ModelCard(
        role=contender.role,
        artifact=next(artifact for artifact in contender.export.artifacts if artifact.path == name),
        parameters=contender.parameters,
        nonzero_parameters=contender.nonzero_parameters,
        macs=contender.macs,
        peak_memory_bytes=device_of(target.device).peak_memory_bytes(path, target),
        parity=_parity(contender.export, name, target),
        accuracy=measured_accuracy(bench, path, target),
    )


def _parity(export: ExportRecord, name: str, target: Target) -> ParityResult:
    return next(
        item
        for item in export.parity
        if item.artifact == name and item.backend == target.backend and item.target in (target, None)
    )
