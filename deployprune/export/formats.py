"""The formats that files are written in: each one's suffixes, and what writes it from a model or its ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from deployprune.errors import UsageError
from deployprune.export.executorch import export_executorch
from deployprune.export.litert import export_litert
from deployprune.export.mnn import export_mnn
from deployprune.export.ncnn import export_ncnn
from deployprune.export.openvino import export_openvino
from deployprune.records import InputSpec

__all__ = ["FORMATS", "Format", "Material", "format_of", "get_format"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a format is written from: the module with example inputs at the batch that ships, and its ONNX file."""

    module: nn.Module
    examples: tuple[Tensor, ...]
    input_names: tuple[str, ...]
    onnx: Path

    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs as the examples have them."""
        return tuple(
            InputSpec(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
            for name, tensor in zip(self.input_names, self.examples, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format. ``side`` is the suffix of the file that belongs to the main one; both follow the same stem.

    ``fixed_batch`` says that its files run at the batch they were written with, and no other; ``from_onnx`` that it is
    written from the ONNX file alone. ``sparse`` names the format of files for the same runtime whose zero weights are
    stored for its sparse kernels, where it has such; of that format, ``kernels`` says what they are.
    """

    name: str
    suffix: str
    write: Callable[[Material, Path], None]
    side: str | None = None
    fixed_batch: bool = False
    from_onnx: bool = False
    sparse: str | None = None
    kernels: str = ""

    def path(self, stem: Path) -> Path:
        """The main file of ``stem``."""
        return stem.with_name(stem.name + self.suffix)

    def files(self, path: Path) -> tuple[Path, ...]:
        """``path``, and its side file where there is one."""
        if self.side is None:
            return (path,)
        side = path.with_name(path.name.removesuffix(self.suffix) + self.side)
        return (path, side) if side.exists() else (path,)


def _write_openvino(material: Material, path: Path) -> None:
    export_openvino(material.onnx, path)


def _write_litert(material: Material, path: Path) -> None:
    export_litert(material.module, material.examples, path, input_names=material.input_names)


def _write_sparse_litert(material: Material, path: Path) -> None:
    export_litert(material.module, material.examples, path, input_names=material.input_names, sparse=True)


def _write_executorch(material: Material, path: Path) -> None:
    export_executorch(material.module, material.examples, path, input_names=material.input_names)


def _write_ncnn(material: Material, path: Path) -> None:
    export_ncnn(material.onnx, material.inputs(), path)


def _write_mnn(material: Material, path: Path) -> None:
    export_mnn(material.onnx, material.inputs(), path)


def _write_sparse_mnn(material: Material, path: Path) -> None:
    export_mnn(material.onnx, material.inputs(), path, sparse=True)


def _keep_onnx(material: Material, path: Path) -> None:
    if material.onnx != path:
        raise UsageError(f"the ONNX file is {material.onnx}, not {path}")


FORMATS = {
    found.name: found
    for found in (
        Format(name="onnx", suffix=".onnx", side=".onnx.data", write=_keep_onnx, from_onnx=True),
        Format(name="openvino", suffix=".xml", side=".bin", write=_write_openvino, from_onnx=True),
        Format(name="litert", suffix=".tflite", write=_write_litert, fixed_batch=True, sparse="litert-sparse"),
        Format(
            name="litert-sparse",
            suffix=".sparse.tflite",
            write=_write_sparse_litert,
            fixed_batch=True,
            kernels="XNNPACK's, for 1x1 convolutions more than two thirds zero, on ARM and on x86 without AVX",
        ),
        Format(name="executorch", suffix=".pte", write=_write_executorch, fixed_batch=True),
        Format(
            name="ncnn", suffix=".ncnn.param", side=".ncnn.bin", write=_write_ncnn, fixed_batch=True, from_onnx=True
        ),
        Format(name="mnn", suffix=".mnn", write=_write_mnn, fixed_batch=True, from_onnx=True, sparse="mnn-sparse"),
        Format(
            name="mnn-sparse",
            suffix=".sparse.mnn",
            write=_write_sparse_mnn,
            fixed_batch=True,
            from_onnx=True,
            kernels="MNN's, for convolutions that its converter finds sparse enough",
        ),
    )
}


def get_format(name: str) -> Format:
    """The format called ``name``. Raises UsageError, naming the known ones."""
    if name not in FORMATS:
        raise UsageError(f"there is no format called {name!r}", hint=f"known formats: {', '.join(FORMATS)}")
    return FORMATS[name]


def format_of(path: Path) -> Format:
    """The format of a file by its name. Raises UsageError, naming the known suffixes."""
    named = [found for found in FORMATS.values() if path.name.endswith(found.suffix)]
    if named:
        return max(named, key=lambda found: len(found.suffix))
    suffixes = ", ".join(found.suffix for found in FORMATS.values())
    raise UsageError(f"{path} names no known format", hint=f"end it in one of: {suffixes}")
