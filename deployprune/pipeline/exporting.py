"""Files of one model in every format that the targets open, each compared with eager through its own runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from deployprune.backends.registry import backend_of
from deployprune.export.artifact import file_artifact
from deployprune.export.formats import Material, get_format
from deployprune.export.onnx import export_onnx
from deployprune.export.parity import check_parity, require_parity
from deployprune.pipeline.workbench import Workbench
from deployprune.records import InputSpec, ParityResult, Target
from deployprune.steps import ExportRecord

__all__ = ["artifact_path", "export_files", "write_formats"]

_TOLERANCES = {"f32": 1e-4, "bf16": 5e-2}


def write_formats(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    specs: Sequence[InputSpec],
    stem: Path,
    formats: Sequence[str],
    *,
    static: bool,
) -> dict[str, Path]:
    """Write ``stem`` in ONNX, which is always written, and in the other ``formats``, at the batch of ``examples`` where
    they fix it."""
    names = tuple(spec.name for spec in specs)
    material = Material(module=module, examples=examples, input_names=names, onnx=get_format("onnx").path(stem))
    export_onnx(module, examples, material.onnx, input_names=names, static=static)
    paths = {"onnx": material.onnx}
    for name in dict.fromkeys(formats):
        paths[name] = get_format(name).path(stem)
        get_format(name).write(material, paths[name])
    return paths


def export_files(bench: Workbench, module: nn.Module, root: Path, stem: Path) -> ExportRecord:
    """Export ``module`` (the bench's model, or what became of it) for all targets, and prove parity on each.

    ``stem`` is the files' path in ``root`` without suffix. Raises ExportError for what cannot be written and
    ParityError for outputs that differ.
    """
    formats = [backend_of(target).format for target in bench.targets]
    static = bench.config.export.static
    paths = write_formats(module, bench.examples(), bench.specs, stem, formats, static=static)
    parity = tuple(_prove_parity(bench, module, paths, root, target) for target in bench.targets)
    artifacts = tuple(file_artifact(path, root, name) for name, path in paths.items())
    return ExportRecord(artifacts=artifacts, parity=parity)


def _prove_parity(
    bench: Workbench, module: nn.Module, paths: Mapping[str, Path], root: Path, target: Target
) -> ParityResult:
    backend = backend_of(target)
    path = paths[backend.format]
    with backend.open(path, target) as session:
        result = check_parity(
            session,
            module,
            bench.examples(),
            artifact=path.relative_to(root).as_posix(),
            backend=target.backend,
            tolerance=_TOLERANCES[target.precision],
            seed=bench.config.seed,
        )
    return require_parity(replace(result, target=target))


def artifact_path(record: ExportRecord, root: Path, target: Target) -> Path:
    """The file of an export that a target opens."""
    wanted = backend_of(target).format
    return root / next(artifact.path for artifact in record.artifacts if artifact.format == wanted)
