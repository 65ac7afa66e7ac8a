"""The steps of ``deployprune compress`` as functions, for Python; :mod:`deployprune` offers them by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deployprune.backends.registry import require_backend
from deployprune.config import load_config
from deployprune.errors import UsageError
from deployprune.export.artifact import file_artifact
from deployprune.export.formats import format_of
from deployprune.export.parity import check_parity, require_parity
from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze
from deployprune.graph.shrink import patch
from deployprune.graph.surgery import slice_parameters
from deployprune.pipeline import crew, doors
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.variants import variant_files
from deployprune.pipeline.weights import read_weights
from deployprune.pipeline.workbench import Workbench
from deployprune.processes import is_assistant
from deployprune.profiling.fit import fit_latency
from deployprune.progress import Observer, SilentObserver
from deployprune.pruning.importance import score
from deployprune.pruning.planner import plan_widths
from deployprune.records import Artifact, InputSpec, LatencyTable, ModelRef, Plan, Target, VerificationRecord
from deployprune.rundir import RunDirectory
from deployprune.sources import models
from deployprune.steps import MODEL, PLAN, PRUNED, VERIFICATION
from deployprune.training.recovery import finetune

__all__ = [
    "analyze",
    "compress",
    "export",
    "finetune",
    "load_model",
    "load_pruned",
    "plan",
    "profile",
    "prune",
    "verify",
]

Inputs = tuple[torch.Tensor, ...]


def load_model(
    source: str | Path,
    *,
    arch: str | None = None,
    arch_kwargs: dict[str, Any] | None = None,
    trust_pickle: bool = False,
) -> nn.Module:
    """Load a model file or a zoo's model in evaluation mode; see :func:`deployprune.sources.models.load_model`."""
    return models.load_model(source, arch=arch, arch_kwargs=arch_kwargs, trust_pickle=trust_pickle)[0]


def profile(
    module: nn.Module,
    example_inputs: Inputs,
    *,
    backend: str = "onnxruntime",
    threads: int = 1,
    batch: int = 1,
    precision: str = "f32",
    variants: int = 24,
    seed: int = 0,
) -> LatencyTable:
    """Measure the latency table of ``module`` in context: whole-model variants, exported and timed on one backend."""
    settings = {
        "target.backends": [backend],
        "target.threads": threads,
        "target.batch": batch,
        "target.precision": precision,
        "table.variants": variants,
        "seed": seed,
    }
    observer = SilentObserver()
    bench = Workbench(load_config(None, settings, {}), observer, (module, example_inputs))
    with variant_files(bench, variants) as files, observer.step("measuring") as task:
        return measure_table(files, bench.targets[0], task)


def plan(
    analysis: GraphAnalysis,
    tables: Sequence[LatencyTable],
    speedup: float,
    *,
    criterion: str = "l2",
) -> Plan:
    """The widths that keep most importance at ``speedup`` times the dense speed, predicted, on every table's target.

    Raises UnsupportedModelError, naming the floor, for a speed-up that no widths reach.
    """
    groups, record = analysis.record.groups, analysis.record
    fitted = {target_key(table.target): fit_latency(table, record) for table in tables}
    dense = record.dense_widths()
    limits = {key: (0.0, model.predict_ms(dense) / speedup) for key, model in fitted.items()}
    step = max(table.channel_step for table in tables)
    return plan_widths(groups, score(criterion, analysis.module, groups), fitted, limits, channel_step=step)


def prune(
    module: nn.Module,
    example_inputs: Inputs,
    ratio: float = 0.3,
    *,
    kept: Mapping[str, Sequence[int]] | None = None,
    criterion: str = "l2",
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> PrunedModel:
    """Remove the ``ratio`` least important units of every channel group, or all but the units in ``kept``; with proof.

    ``module`` itself is left as it is. Raises UsageError for a ratio outside [0, 1), UnsupportedModelError for a model
    that cannot be captured, ParityError should the result differ from the masked dense model.
    """
    if not 0 <= ratio < 1:
        raise UsageError(f"ratio {ratio} is not between 0 and 1", hint="0.3 removes 30 % of the units of every group")
    analysis = analyze(module, example_inputs, ignore=ignore)
    if kept is None:
        scores = score(criterion, analysis.module, analysis.record.groups)
        counts = {group.name: max(1, round((1 - ratio) * group.size)) for group in analysis.record.groups}
        kept = {name: sorted(scores[name].argsort(kind="stable")[-count:].tolist()) for name, count in counts.items()}
    return analysis.prune(kept, seed=seed)


def export(module: nn.Module, example_inputs: Inputs, path: str | Path, *, static: bool = False) -> Artifact:
    """Write ``module`` in the format that ``path`` ends in, with the ONNX file beside it, equal to eager.

    Raises UsageError for another suffix, ExportError and ParityError as :mod:`deployprune.export` does.
    """
    path = Path(path)
    wanted = format_of(path)
    names = [f"input_{index}" if len(example_inputs) > 1 else "input" for index in range(len(example_inputs))]
    specs = [
        InputSpec(name=name, shape=tuple(x.shape), dtype=str(x.dtype).removeprefix("torch."))
        for name, x in zip(names, example_inputs, strict=True)
    ]
    stem = path.with_name(path.name.removesuffix(wanted.suffix))
    written = write_formats(module, example_inputs, specs, stem, [wanted.name], static=static)[wanted.name]
    # All formats but ONNX belong to one runtime, and are called like it.
    backend = "onnxruntime" if wanted.name == "onnx" else wanted.name
    target = Target(backend=backend, batch=example_inputs[0].shape[0])
    with require_backend(target.backend).open(written, target) as session:
        result = check_parity(session, module, example_inputs, artifact=path.name, backend=target.backend)
    require_parity(result)
    return file_artifact(written, path.parent, wanted.name)


def verify(
    baseline: str | Path,
    candidate: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    observer: Observer | None = None,
) -> VerificationRecord:
    """Time one file against another; ``settings`` are those of ``deployprune.yaml`` by dotted name."""
    config = load_config(None, dict(settings or {}), {})
    return doors.verify_files(config, Path(baseline), Path(candidate), observer=observer or SilentObserver())


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
        return crew.assist(trust_pickle=config.model.trust_pickle)
    with RunDirectory.create(Path(config.output), config) as run:
        return doors.compress(config, run=run, observer=observer or SilentObserver()), run.root


def load_pruned(run: str | Path, *, trust_pickle: bool = False) -> nn.Module:
    """The recovered model of a run, made again from the dense model, the kept indices and safetensors; no pickle.

    Of a run whose budget was met already it is the dense model, which is what the run ships.
    Raises RunDirectoryError where the run has not come so far.
    """
    directory = RunDirectory.view(Path(run))
    verification = directory.find(VERIFICATION)
    if verification is not None and verification.already_met:
        return _load_dense(directory.read(MODEL).model, trust_pickle=trust_pickle).eval()
    record = directory.read(PRUNED).pruned
    dense = _load_dense(record.model, trust_pickle=trust_pickle)
    if record.product == "eager":
        module = copy.deepcopy(dense)
        slice_parameters(module, record.kept)
        patch(module, record.attributes)
    else:
        bench = Workbench(directory.config, SilentObserver())
        kept = directory.read(PLAN).kept
        module = bench.analysis.rebuild(kept, record.product, record.attributes, record.grafted)
    read_weights(module, directory.path("weights/recovered.safetensors"))
    return module.eval()


def _load_dense(model: ModelRef, *, trust_pickle: bool) -> nn.Module:
    return models.load_model(model.source, arch=model.arch, arch_kwargs=model.arch_kwargs, trust_pickle=trust_pickle)[0]
