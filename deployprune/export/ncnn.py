"""ONNX to ncnn through pnnx: ``.ncnn.param`` and ``.ncnn.bin`` with float32 weights, at one batch."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deployprune.backends.ncnn_file import NO_BATCH, NcnnInput, description_line
from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.child import run_child
from deployprune.export.fixed import write_fixed
from deployprune.export.staging import staged
from deployprune.export.trial import require_runnable
from deployprune.records import InputSpec

__all__ = ["export_ncnn"]

_HINT = "pip install 'deployprune[ncnn]'"
_TYPES = {"float32": "f32", "float64": "f64", "float16": "f16", "int64": "i64", "int32": "i32", "bool": "u8"}
_INPUT = re.compile(r'ex\.input\("in(\d+)", ncnn\.Mat\(in\d+\.numpy\(\)(?:, batch_index=(\d+))?\)')
_OUTPUT = re.compile(r"out(\d+)\.numpy\((?:batch_index=(\d+))?\)")


def export_ncnn(onnx_path: Path, inputs: Sequence[InputSpec], path: Path) -> None:
    """Write the model of ``onnx_path`` as ``path`` (``.ncnn.param``) and its ``.ncnn.bin``, for inputs like these.

    pnnx writes what it cannot convert as a layer that ncnn does not know, and some models in a form that ncnn crashes
    on: hence the file is run once, in a process of its own. Raises BackendUnavailableError without pnnx, and
    ExportError for a model that cannot be converted or run.
    """
    converter = _find_converter()
    with staged(path) as place, tempfile.TemporaryDirectory(prefix="deployprune-") as folder:
        said = _convert(converter, onnx_path, inputs, Path(folder))
        layers, weights, example = (Path(folder, name) for name in ("net.ncnn.param", "net.ncnn.bin", "net_ncnn.py"))
        if not (layers.is_file() and weights.is_file() and example.is_file()):
            raise ExportError(f"pnnx cannot convert {onnx_path}: {said.strip().splitlines()[-1:]}")
        _require_known_layers(layers.read_text(), onnx_path)
        line = _describe(example.read_text(), inputs)
        place.write_text(layers.read_text().rstrip("\n") + "\n" + line)
        place.with_name(path.name.removesuffix(".param") + ".bin").write_bytes(weights.read_bytes())
        require_runnable("ncnn", place, inputs[0].shape[0] if inputs[0].shape else 1)


def _find_converter() -> Path:
    """pnnx's program in its distribution, which is not imported: that would import torch and more."""
    found = importlib.util.find_spec("pnnx")
    folders = found.submodule_search_locations if found is not None else None
    for folder in folders or ():
        program = Path(folder, "pnnx.exe" if sys.platform == "win32" else "pnnx")
        if program.is_file():
            return program
    raise BackendUnavailableError("pnnx, which writes ncnn's files, is not installed", hint=_HINT)


def _convert(converter: Path, onnx_path: Path, inputs: Sequence[InputSpec], folder: Path) -> str:
    """Run pnnx on ``net.onnx`` in ``folder``, where it leaves its files, and give what it said."""
    unknown = [spec.name for spec in inputs if spec.dtype not in _TYPES]
    if unknown:
        raise ExportError(f"ncnn has no type for the inputs {', '.join(unknown)} of {onnx_path}")
    write_fixed(onnx_path, [spec.shape for spec in inputs], folder / "net.onnx")
    shapes = ",".join(f"[{','.join(map(str, spec.shape))}]{_TYPES[spec.dtype]}" for spec in inputs)
    command = [str(converter), "net.onnx", f"inputshape={shapes}", "fp16=0"]
    return run_child(command, folder=folder, what=f"pnnx cannot convert {onnx_path}")


def _require_known_layers(text: str, onnx_path: Path) -> None:
    """ncnn's layers have plain names; what pnnx could not lower keeps the name of its own or torch's operation."""
    kinds = (line.split()[0] for line in text.splitlines()[2:] if line.strip())
    foreign = sorted({kind for kind in kinds if "." in kind or ":" in kind})
    if foreign:
        raise ExportError(
            f"ncnn has no layer for {', '.join(foreign)}, which {onnx_path} needs",
            hint="rewrite these operations in the model, or choose another backend",
        )


def _describe(example: str, inputs: Sequence[InputSpec]) -> str:
    """The description line; pnnx's own example program says which dimension it took for the batch."""
    batches = {int(index): int(batch or NO_BATCH) for index, batch in _INPUT.findall(example)}
    outputs = {int(index): int(batch or NO_BATCH) for index, batch in _OUTPUT.findall(example)}
    if sorted(batches) != list(range(len(inputs))) or sorted(outputs) != list(range(len(outputs))):
        raise ExportError(
            f"pnnx kept {len(batches)} of {len(inputs)} inputs", hint="remove inputs that the model does not use"
        )
    entries = [NcnnInput(spec=spec, batch_index=batches[index]) for index, spec in enumerate(inputs)]
    return description_line(entries, [outputs[index] for index in range(len(outputs))])
