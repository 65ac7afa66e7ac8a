"""One run under way: its directory, its material, and the way that every step is done: once, watched, recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deployprune.config import Config
from deployprune.pipeline.exporting import artifact_path, export_files
from deployprune.pipeline.limits import ceilings_of, onnx_bytes
from deployprune.pipeline.scoring import score_units
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.weights import read_weights
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import Task
from deployprune.pruning.ceilings import Ceiling
from deployprune.rundir import RunDirectory
from deployprune.steps import DENSE, PLAN, PRUNED, ExportRecord, Step

__all__ = ["RECOVERED_WEIGHTS", "Run"]

T = TypeVar("T")
RECOVERED_WEIGHTS = "weights/recovered.safetensors"


@dataclass(frozen=True)
class Run:
    """What the steps work on. Each reads what it needs from earlier records and files, so any may be the first."""

    directory: RunDirectory
    bench: Workbench

    @property
    def config(self) -> Config:
        """The effective configuration."""
        return self.bench.config

    def step(
        self,
        title: str,
        step: Step[T],
        compute: Callable[[Task], T],
        inputs: Sequence[Step[Any]] = (),
        files: Sequence[Path] = (),
    ) -> T:
        """The step's record: the stored one, or what ``compute`` gives, with its progress shown."""

        def observed() -> T:
            with self.bench.observer.step(title) as task:
                return compute(task)

        return self.directory.step(step, observed, inputs=inputs, files=files)

    def path(self, name: str) -> Path:
        """The place of a file in the run directory."""
        return self.directory.path(name)

    def export(self, module: nn.Module, stem: str, *, sparse: bool = False) -> ExportRecord:
        """Write ``module`` as ``stem.onnx`` (and ``stem.xml``), each file proven equal to eager.

        With ``sparse``, for the sparse kernels of runtimes that have some, too.
        """
        return export_files(self.bench, module, self.directory.root, self.path(stem), sparse=sparse)

    def dense_paths(self) -> dict[str, Path]:
        """The dense model's file of every target."""
        export = self.directory.read(DENSE)
        return {target_key(t): artifact_path(export, self.directory.root, t) for t in self.bench.targets}

    def dense_files(self) -> dict[str, Path]:
        """The dense model's file in every format that there is."""
        artifacts = self.directory.read(DENSE).artifacts
        return {artifact.format: self.directory.root / artifact.path for artifact in artifacts}

    def ceilings(self) -> tuple[Ceiling, ...]:
        """The configured limits beside latency."""
        if not self.config.pruning.limits:
            return ()
        dense_bytes = onnx_bytes(self.directory.read(DENSE))
        return ceilings_of(self.config.pruning.limits, self.bench.analysis.record, self.bench.module, dense_bytes)

    def dense_keeps_limits(self) -> bool:
        """Whether the dense model is within all of them."""
        return all(
            ceiling.count(self.bench.analysis.record.dense_widths()) <= ceiling.limit for ceiling in self.ceilings()
        )

    def candidate(self) -> nn.Module:
        """The recovered model, from the plan and the weights file."""
        record = self.directory.read(PRUNED).pruned
        kept = self.directory.read(PLAN).kept
        module = self.bench.analysis.rebuild(kept, record.product, record.attributes, record.grafted)
        read_weights(module, self.path(RECOVERED_WEIGHTS))
        return module

    @cached_property
    def _scores(self) -> Mapping[str, NDArray[np.float64]]:
        return score_units(self.bench)

    def importance(self) -> Mapping[str, NDArray[np.float64]]:
        """The importance of every unit, computed when it is first asked for."""
        return self._scores
