"""What the command line and the Python interface call: each a configuration in, a record out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deployprune.backends.registry import require_backend
from deployprune.config import Config
from deployprune.errors import UsageError
from deployprune.pipeline.cards import accuracy_drop, file_card
from deployprune.pipeline.compress import Run
from deployprune.pipeline.tables import bound_session
from deployprune.pipeline.targets import targets_of
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.measure import measure_interleaved
from deployprune.progress import Observer
from deployprune.records import Analysis, LatencyTable, Target, VerificationRecord, Verified
from deployprune.rundir import RunDirectory
from deployprune.verification.budget import combine, judge
from deployprune.verification.speedup import verify_latency

__all__ = ["compress", "inspect_model", "profile_model", "verify_files"]


def compress(config: Config, *, run: RunDirectory, observer: Observer) -> VerificationRecord:
    """Do every step of the run that has no record yet, and give the verdict."""
    return Run(config, run, observer).compress()


def profile_model(config: Config, *, run: RunDirectory, observer: Observer) -> dict[str, LatencyTable]:
    """Measure the model's latency table on every target."""
    return Run(config, run, observer).measure_tables()


def inspect_model(config: Config, observer: Observer) -> Analysis:
    """What of the model can be pruned."""
    with observer.step("Finding channel groups"):
        return Workbench(config, observer).analysis.record


def verify_files(config: Config, baseline: Path, candidate: Path, *, observer: Observer) -> VerificationRecord:
    """Compare two files on every configured backend that opens their format.

    The budget is the configured one; without one the candidate must not be slower. Raises UsageError for files of
    different formats, or of a format that none of the backends opens.
    """
    results = []
    for target in _targets_for(config, baseline, candidate):
        with observer.step(f"Timing {candidate.name} against {baseline.name} on {target.backend}"):
            results.append(_compare(config, target, {"dense": baseline, "candidate": candidate}, observer))
    verdict = combine(result.verdict for result in results)
    deciding = next(result for result in results if result.verdict is verdict)
    return VerificationRecord(
        targets=tuple(results), verdict=verdict, reason=f"{deciding.target.backend}: {deciding.reason}"
    )


def _targets_for(config: Config, baseline: Path, candidate: Path) -> list[Target]:
    if baseline.suffix != candidate.suffix:
        raise UsageError(
            f"{baseline.name} and {candidate.name} are of different formats", hint="compare two .onnx or two .xml files"
        )
    wanted = {"onnx": ".onnx", "openvino": ".xml"}
    found = [t for t in targets_of(config) if wanted[require_backend(t.backend).format] == candidate.suffix]
    if not found:
        raise UsageError(
            f"none of the backends {', '.join(config.target.backends)} opens {candidate.suffix} files",
            hint="name one that does with --backend; `deployprune devices` lists them",
        )
    return found


def _compare(config: Config, target: Target, paths: Mapping[str, Path], observer: Observer) -> Verified:
    backend, bench = require_backend(target.backend), Workbench(config, observer)
    reference = _reference_ms(config, target, paths["dense"])
    goal = _goal(config, reference)
    comparisons, control, drift = verify_latency(
        backend, target, paths, reference, goal, seed=config.seed, budget_s=config.verification.budget_seconds
    )
    cards = tuple(file_card(bench, role, path, target) for role, path in paths.items())
    verdict, reason = judge(
        comparisons["candidate"].ratio,
        goal,
        control,
        accuracy_drop=accuracy_drop(cards),
        max_accuracy_drop=config.target.max_accuracy_drop,
    )
    return Verified(
        target=target,
        cards=cards,
        comparisons=tuple(comparisons.values()),
        control=control,
        reference_ms=reference,
        target_ms=goal * reference,
        drift=drift,
        verdict=verdict,
        reason=reason,
    )


def _goal(config: Config, reference_ms: float) -> float:
    settings = config.target
    if settings.latency_ms is not None:
        return settings.latency_ms / reference_ms
    return 1.0 if settings.speedup_factor is None else 1.0 / settings.speedup_factor


def _reference_ms(config: Config, target: Target, path: Path) -> float:
    with bound_session(require_backend(target.backend), path, target, config.seed) as session:
        return measure_interleaved({"dense": session}, rounds=30, seed=config.seed, min_round_ms=2.0)["dense"].p50
