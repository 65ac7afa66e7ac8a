"""What the steps of a run share: the model, its inputs, its analysis and its data, each made when first asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from deployprune.backends.devices.address import LOCAL
from deployprune.backends.registry import backend_of, device_of
from deployprune.config import Config, require_model
from deployprune.errors import UsageError
from deployprune.export.formats import get_format
from deployprune.graph.analysis import GraphAnalysis, analyze
from deployprune.pipeline.narrowing import configure_groups, require_match
from deployprune.pipeline.table_file import read_latency_table
from deployprune.pipeline.targets import targets_of
from deployprune.progress import Observer
from deployprune.pruning.importance import require_criterion
from deployprune.records import ChannelGroup, InputSpec, ModelRef, Target
from deployprune.sources.callables import resolve
from deployprune.sources.data import Data, load_data
from deployprune.sources.fingerprint import fingerprint_data
from deployprune.sources.inputs import example_inputs, parse_input, program_inputs
from deployprune.sources.models import load_model
from deployprune.verification.accuracy import Metric

__all__ = ["Workbench"]


@dataclass(frozen=True)
class Workbench:
    """One configured run's material. Everything in it follows from the configuration, so a resumed run has the same."""

    config: Config
    observer: Observer
    given: tuple[nn.Module, tuple[torch.Tensor, ...]] | None = None
    """A module and its inputs from Python, instead of those that the configuration names."""

    @cached_property
    def _loaded(self) -> tuple[nn.Module, ModelRef]:
        if self.given is not None:
            return self.given[0], ModelRef(kind="object", source=type(self.given[0]).__name__)
        model = self.config.model
        return load_model(
            require_model(self.config), arch=model.arch, arch_kwargs=model.arch_kwargs, trust_pickle=model.trust_pickle
        )

    @property
    def module(self) -> nn.Module:
        """The dense model."""
        return self._loaded[0]

    @property
    def reference(self) -> ModelRef:
        """Where the dense model came from."""
        return self._loaded[1]

    @cached_property
    def specs(self) -> tuple[InputSpec, ...]:
        """The model's inputs: those given, or an exported program's own. Raises UsageError where there are none."""
        if self.given is not None:
            return tuple(_spec_of(index, tensor) for index, tensor in enumerate(self.given[1]))
        specs = [parse_input(text) for text in self.config.model.inputs] or program_inputs(self.module)
        if not specs:
            raise UsageError(
                "the model's input shape is not known", hint="give it as --input 1x3x224x224 (batch, channels, ...)"
            )
        unnamed = len(specs) > 1
        return tuple(
            replace(spec, name=f"input_{index}") if unnamed and spec.name == "input" else spec
            for index, spec in enumerate(specs)
        )

    def examples(self) -> tuple[torch.Tensor, ...]:
        """Example inputs: those given, or seeded ones, at the target's batch where the files have it fixed."""
        if self.given is not None:
            return self.given[1]
        fixed = self.config.export.static or any(get_format(backend_of(t).format).fixed_batch for t in self.targets)
        batch = self.config.target.batch if fixed else None
        return example_inputs(self.specs, self.config.seed, batch=batch)

    @cached_property
    def analysis(self) -> GraphAnalysis:
        """The labelled model, without what the configuration ignores."""
        found = analyze(self.module, self.examples(), ignore=self.config.pruning.ignore)
        require_match(self.config.pruning.ignore, {*found.units, *(name for name, _ in self.module.named_modules())})
        return found

    @cached_property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups with the configured least widths and steps."""
        return configure_groups(self.analysis.record.groups, self.config.pruning)

    @cached_property
    def data(self) -> Data | None:
        """The data to recover and to judge with, or None."""
        settings = self.config.data
        if settings.source is None:
            return None
        return load_data(
            settings.source,
            input_spec=self.specs[0],
            seed=self.config.seed,
            validation_share=settings.validation_share,
            mean=settings.mean,
            std=settings.std,
            workers=self.config.recovery.workers,
        )

    @cached_property
    def metric(self) -> str | Metric:
        """``top1``, or the user's callable."""
        name = self.config.data.metric
        return name if name == "top1" else resolve(name)

    @property
    def labelled_data(self) -> Data | None:
        """The data that accuracy can be measured on: it has labels, and the model has the one input to feed."""
        found = self.data
        return found if found is not None and found.labelled and len(self.specs) == 1 else None

    @cached_property
    def data_sha256(self) -> str | None:
        """What the data can be told by when a run goes on; None for none, and for a callable's."""
        return None if self.config.data.source is None else fingerprint_data(self.config.data.source)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The conditions to meet the budget under."""
        return targets_of(self.config)

    def require_all(self) -> None:
        """Find everything that the configuration names. Raises what each of it raises when it is not there."""
        _ = self.targets, self.module, self.specs, self.data, self.metric
        require_criterion(self.config.pruning.criterion, has_data=self.data is not None)
        for name in self.config.table.files:
            read_latency_table(Path(name))
        self._require_cores()
        recovery, rounds = self.config.recovery, self.config.pruning.rounds
        if self.data is not None and 0 < recovery.epochs < rounds:
            raise UsageError(
                f"{recovery.epochs} epochs of recovery cannot be spread over {rounds} pruning rounds",
                hint="raise recovery.epochs, or lower pruning.rounds",
            )

    def _require_cores(self) -> None:
        cores = device_of(LOCAL).host().cores
        for target in self.targets:
            if target.device == LOCAL and target.threads > cores:
                raise UsageError(
                    f"{target.threads} threads are asked for, more than this process has cores ({cores})",
                    hint=f"give --threads {cores} or fewer: threads that wait for each other have no latency",
                )


def _spec_of(index: int, tensor: torch.Tensor) -> InputSpec:
    return InputSpec(name=f"input_{index}", shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
