"""What the command line and the Python interface call: each a configuration in, a record out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from deployprune.backends.base import require_file
from deployprune.backends.registry import backend_of
from deployprune.config import Config
from deployprune.errors import UsageError
from deployprune.export.formats import format_of
from deployprune.pipeline import crew, preparing
from deployprune.pipeline.cards import file_card
from deployprune.pipeline.compress import do_all_steps
from deployprune.pipeline.judging import conclude, judge_target, time_target
from deployprune.pipeline.run import Run
from deployprune.pipeline.tables import bound_session
from deployprune.pipeline.targets import goal_ratio, targets_of
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.measure import measure_interleaved
from deployprune.progress import Observer
from deployprune.records import Analysis, LatencyTable, Target, VerificationRecord, Verified
from deployprune.records.naming import label_targets
from deployprune.rundir import RunDirectory

__all__ = ["compress", "inspect_model", "profile_model", "verify_files"]


def compress(config: Config, *, run: RunDirectory, observer: Observer) -> VerificationRecord:
    """Do every step of the run that has no record yet, and give the verdict.

    Under ``torchrun`` and ``accelerate launch`` this is for the main process; :mod:`deployprune.pipeline.crew` has the
    others.
    """
    crew.share_root(run.root)
    return do_all_steps(Run(run, Workbench(config, observer)))


def profile_model(config: Config, *, run: RunDirectory, observer: Observer) -> dict[str, LatencyTable]:
    """Measure the model's latency table on every target."""
    under_way = Run(run, Workbench(config, observer))
    preparing.prepare(under_way)
    return preparing.measure_tables(under_way)


def inspect_model(config: Config, observer: Observer) -> Analysis:
    """What of the model can be pruned."""
    with observer.step("Finding channel groups"):
        return Workbench(config, observer).analysis.record


def verify_files(config: Config, baseline: Path, candidate: Path, *, observer: Observer) -> VerificationRecord:
    """Compare two files on every configured backend that opens their format.

    The budget is the configured one; without one the candidate must not be slower. Raises UsageError for missing files,
    for files of different formats, and for a format that none of the backends opens.
    """
    targets = _targets_for(config, baseline, candidate)
    for path in (baseline, candidate):
        require_file(path)
    results = []
    for target, label in label_targets(targets).items():
        with observer.step(f"Timing {candidate.name} against {baseline.name} on {label}"):
            results.append(_compare(config, target, {"dense": baseline, "candidate": candidate}, observer))
    return conclude(results)


def _targets_for(config: Config, baseline: Path, candidate: Path) -> list[Target]:
    wanted = format_of(candidate)
    if format_of(baseline) is not wanted:
        raise UsageError(
            f"{baseline.name} and {candidate.name} are of different formats", hint="compare two .onnx or two .xml files"
        )
    targets = targets_of(config)
    found = [t for t in targets if backend_of(t).format == wanted.name]
    if not found:
        raise UsageError(
            f"none of the backends {', '.join(dict.fromkeys(t.backend for t in targets))} opens {wanted.suffix} files",
            hint="name one that does with --backend; `deployprune devices` lists them",
        )
    return found


def _compare(config: Config, target: Target, paths: Mapping[str, Path], observer: Observer) -> Verified:
    reference = _reference_ms(config, target, paths["dense"])
    bench = Workbench(_with_inputs_of(paths["dense"], target, config), observer)
    _ = bench.labelled_data  # looked for before anything is timed
    goal = goal_ratio(config, target, reference)
    sittings = time_target(config, target, paths, reference_ms=reference, goal=goal)
    first = next(sittings)
    cards = [file_card(bench, role, path, target) for role, path in paths.items()]  # time passes between the sittings
    *_, timing = (first, *sittings)
    return judge_target(config, timing, cards)


def _with_inputs_of(path: Path, target: Target, config: Config) -> Config:
    """``config`` with the file's own inputs where none were named: the data has to fit them."""
    if config.model.inputs:
        return config
    with backend_of(target).open(path, target) as session:
        texts = [f"{spec.name}:{'x'.join(map(str, spec.shape))}:{spec.dtype}" for spec in session.inputs]
    return msgspec.structs.replace(config, model=msgspec.structs.replace(config.model, inputs=texts))


def _reference_ms(config: Config, target: Target, path: Path) -> float:
    with bound_session(backend_of(target), path, target, config.seed) as session:
        return measure_interleaved({"dense": session}, rounds=30, seed=config.seed, min_round_ms=2.0)["dense"].p50
