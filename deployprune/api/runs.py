"""Whole runs: compress, sweep, and the comparison of two files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployprune import pipeline
from deployprune.config import load_config, require_model
from deployprune.errors import RunDirectoryError, UsageError
from deployprune.processes import is_assistant
from deployprune.progress import Observer, SilentObserver
from deployprune.records import SweepRecord, VerificationRecord
from deployprune.rundir import RunDirectory
from deployprune.sweepdir import SweepDirectory
from deployprune.units import parse_speedup

__all__ = ["compress", "sweep", "verify"]


def verify(
    baseline: str | Path,
    candidate: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    observer: Observer | None = None,
) -> VerificationRecord:
    """Time one file against another; ``settings`` are those of ``deployprune.yaml`` by dotted name."""
    config = load_config(None, dict(settings or {}), {})
    return pipeline.verify_files(config, Path(baseline), Path(candidate), observer=observer or SilentObserver())


def compress(
    source: str | Path, settings: Mapping[str, Any], *, observer: Observer | None = None
) -> tuple[VerificationRecord, Path]:
    """The whole way; the verdict and the run directory.

    ``settings`` are those of ``deployprune.yaml`` by dotted name: ``{"target.speedup": "2x", "model.inputs":
    ["1x3x224x224"]}``. Under ``torchrun`` or ``accelerate launch`` all processes call this and get the same answer.
    Raises the errors of all steps; a missed budget is a verdict, not an error.
    """
    config = load_config(None, {**settings, "model.source": str(source)}, {})
    if is_assistant():
        return pipeline.assist(trust_pickle=config.model.trust_pickle)
    with RunDirectory.create(Path(config.output), config) as run:
        return pipeline.compress(config, run=run, observer=observer or SilentObserver()), run.root


def sweep(
    source: str | Path,
    speedups: Sequence[float | str],
    settings: Mapping[str, Any],
    *,
    observer: Observer | None = None,
) -> tuple[SweepRecord, Path]:
    """One run a speed-up (``2`` or ``"2x"``), with the latency tables measured once; the record and the sweep's folder.

    ``settings`` are those of :func:`compress` without a budget. A speed-up that no widths reach is recorded as refused
    and the others go on. Under ``torchrun`` or ``accelerate launch`` all processes call this and get the same answer.
    Raises UsageError for no speed-ups, and the errors of all steps.
    """
    config = load_config(None, {**settings, "model.source": str(source)}, {})
    require_model(config)
    if not speedups:
        raise UsageError("a sweep needs a speed-up", hint="give some, such as [1.5, 2, 3]")
    if is_assistant():
        return _assist_sweep(trust_pickle=config.model.trust_pickle)
    factors = [parse_speedup(str(speedup)) for speedup in speedups]
    with SweepDirectory.create(Path(config.output), config, factors) as directory:
        return pipeline.sweep(directory, observer or SilentObserver()), directory.root


def _assist_sweep(*, trust_pickle: bool) -> tuple[SweepRecord, Path]:
    folder = pipeline.assist_sweep(trust_pickle=trust_pickle)
    if folder is None:
        raise RunDirectoryError("the main process named no run", hint="start all processes with the same command")
    return SweepDirectory.view(folder), folder
