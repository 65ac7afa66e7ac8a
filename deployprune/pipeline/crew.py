"""One run by several processes, as ``torchrun`` and ``accelerate launch`` start them.

The main process does every step and writes every file; the others read its records, and only join in where the work
can be shared: the training of the candidate and of its twin.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

import msgspec
from accelerate.utils import broadcast_object_list

from deployprune.errors import RunDirectoryError
from deployprune.pipeline.recovering import recover, unstructured_twin
from deployprune.pipeline.run import Run
from deployprune.pipeline.weights import count_parameters
from deployprune.pipeline.workbench import Workbench
from deployprune.processes import process_count
from deployprune.progress import SilentObserver
from deployprune.records import VerificationRecord
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, PRUNED, RECOVERY, UNSTRUCTURED, VERIFICATION, Step
from deployprune.training.trainer import make_accelerator

__all__ = ["assist", "assist_sweep", "share_root"]

T = TypeVar("T")
_POLL_S = 0.2


def share_root(root: Path | None) -> Path | None:
    """Tell all processes of the launch where the run is: the main one knows the place, the others give None."""
    if process_count() == 1:
        return root
    make_accelerator()
    places = [root and root.resolve()]
    broadcast_object_list(places)
    return places[0]


def assist(*, trust_pickle: bool = False) -> tuple[VerificationRecord, Path]:
    """What a process does that is not the main one: train along, and give the run's verdict and its directory.

    Raises RunDirectoryError where the main process ends without a verdict.
    """
    root = share_root(None)
    if root is None:
        raise RunDirectoryError("the main process named no run", hint="start all processes with the same command")
    directory = _train_in(root, trust_pickle=trust_pickle)
    return _await(directory, VERIFICATION), root


def assist_sweep(*, trust_pickle: bool = False) -> Path | None:
    """Train along in one run after another, until the main process names no more; a run may end without a verdict.

    Gives the folder of the sweep, or None where no run was named.
    """
    folder = None
    while (root := share_root(None)) is not None:
        _comes(_train_in(root, trust_pickle=trust_pickle), VERIFICATION)
        folder = root.parent
    return folder


def _train_in(root: Path, *, trust_pickle: bool) -> RunDirectory:
    directory = RunDirectory.view(root)
    model = msgspec.structs.replace(directory.config.model, trust_pickle=trust_pickle)
    config = msgspec.structs.replace(directory.config, model=model)
    _train_along(Run(directory, Workbench(config, SilentObserver())))
    return directory


def _train_along(run: Run) -> None:
    directory = run.directory
    with run.bench.observer.step("training along") as task:
        if not directory.has(RECOVERY):
            if not _comes(directory, PRUNED):
                return  # the dense model meets the budget already
            recover(run.bench, directory.read(PLAN).kept, run.importance, None, task)
        if run.config.verification.unstructured and not directory.has(UNSTRUCTURED):
            recovery = _await(directory, RECOVERY)
            unstructured_twin(run.bench, count_parameters(run.candidate()), recovery.training, None, task)


def _await(directory: RunDirectory, step: Step[T]) -> T:
    """The step's record, as soon as the main process has written it."""
    if not _comes(directory, step):
        raise RunDirectoryError(
            f"{directory.root} ended without {step.filename}", hint="see what the main process said"
        )
    return directory.read(step)


def _comes(directory: RunDirectory, step: Step[T]) -> bool:
    """Wait for the step's record; False when the run ends without it."""
    while True:
        under_way = directory.is_held and not directory.has(VERIFICATION)
        if directory.has(step):
            return True
        if not under_way:
            return False
        time.sleep(_POLL_S)
