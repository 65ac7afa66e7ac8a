"""Files of one model in every format that the targets open, each compared with eager through its own runtime."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["artifact_path", "export_files", "sparse_artifact_path", "write_formats"]

_TOLERANCES = {"f32": 1e-4, "bf16": 5e-2}
_LOOSER = {"mnn": 5e-3}  # in f32 too: its Winograd convolutions with large tiles and its GELU round to about 1e-3


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


def export_files(bench: Workbench, module: nn.Module, root: Path, stem: Path, *, sparse: bool = False) -> ExportRecord:
    """Export ``module`` (the bench's model, or what became of it) for all targets, and prove parity on each.

    ``stem`` is the files' path in ``root`` without suffix. With ``sparse``, runtimes with sparse kernels get a second
    file, stored for them. Raises ExportError for what cannot be written and ParityError for outputs that differ.
    """
    wanted = [(target, name) for target in bench.targets for name in _formats(target, sparse=sparse)]
    static = bench.config.export.static
    formats = [name for _, name in wanted]
    paths = write_formats(module, bench.examples(), bench.specs, stem, formats, static=static)
    parity = tuple(_prove_parity(bench, module, paths[name], root, target) for target, name in wanted)
    artifacts = tuple(file_artifact(path, root, name) for name, path in paths.items())
    return ExportRecord(artifacts=artifacts, parity=parity)


def _formats(target: Target, *, sparse: bool) -> list[str]:
    """The format that a target opens, and the one for its runtime's sparse kernels where it has them."""
    found = get_format(backend_of(target).format)
    return [found.name, found.sparse] if sparse and found.sparse is not None else [found.name]


def _prove_parity(bench: Workbench, module: nn.Module, path: Path, root: Path, target: Target) -> ParityResult:
    with backend_of(target).open(path, target) as session:
        result = check_parity(
            session,
            module,
            bench.examples(),
            artifact=path.relative_to(root).as_posix(),
            backend=target.backend,
            tolerance=_LOOSER.get(target.backend, _TOLERANCES[target.precision]),
            seed=bench.config.seed,
        )
    return require_parity(replace(result, target=target))


def artifact_path(record: ExportRecord, root: Path, target: Target) -> Path:
    """The file of an export that a target opens."""
    wanted = backend_of(target).format
    return root / next(artifact.path for artifact in record.artifacts if artifact.format == wanted)


def sparse_artifact_path(record: ExportRecord, root: Path, target: Target) -> Path | None:
    """The file of an export that is stored for the target's sparse kernels, where there is one."""
    wanted = get_format(backend_of(target).format).sparse
    return next((root / artifact.path for artifact in record.artifacts if artifact.format == wanted), None)
