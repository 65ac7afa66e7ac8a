"""The steps of a run one by one: measure, plan, prune, export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from deployprune.backends.registry import require_backend
from deployprune.config import load_config
from deployprune.errors import UsageError
from deployprune.export.artifact import file_artifact
from deployprune.export.formats import format_of
from deployprune.export.parity import check_parity, require_parity
from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze
from deployprune.options import PruningConfig
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.limits import ceilings_of, weight_bytes
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.targets import target_key
from deployprune.pipeline.variants import variant_files
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.fit import fit_latency
from deployprune.progress import SilentObserver
from deployprune.pruning.importance import score
from deployprune.pruning.planner import plan_widths
from deployprune.records import Artifact, InputSpec, LatencyTable, Plan, Target

__all__ = ["export", "plan", "profile", "prune"]

Inputs = tuple[torch.Tensor, ...]


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
        return measure_table(files, bench.targets[0], bench.config.table.budget_seconds, task)


def plan(
    analysis: GraphAnalysis,
    tables: Sequence[LatencyTable],
    speedup: float,
    *,
    criterion: str = "l2",
    max_parameters: str | float | None = None,
    max_macs: str | float | None = None,
    max_size: str | float | None = None,
) -> Plan:
    """The widths that keep most importance at ``speedup`` times the dense speed, predicted, on every table's target.

    The limits are numbers or texts such as ``"1.5M"``, ``"4MB"`` and ``"50%"`` of the dense model; a size is that of
    all weights in bytes, for there is no file yet. The plan's ``interval`` says how far predictions may be off.
    Raises UnsupportedModelError, naming the floor, for a speed-up or a limit that no widths reach.
    """
    groups, record = analysis.record.groups, analysis.record
    fitted = {target_key(table.target): fit_latency(table, record) for table in tables}
    dense = record.dense_widths()
    limits = {key: (0.0, model.predict_ms(dense) / speedup) for key, model in fitted.items()}
    given = PruningConfig(max_parameters=max_parameters, max_macs=max_macs, max_size=max_size).limits
    planned = plan_widths(
        groups,
        score(criterion, analysis.module, groups),
        fitted,
        limits,
        channel_step=max(table.channel_step for table in tables),
        ceilings=ceilings_of(given, record, analysis.module, weight_bytes(analysis.module)),
    )
    known = {target_key(table.target): table.interval for table in tables if table.interval is not None}
    return replace(planned, interval=known)


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
