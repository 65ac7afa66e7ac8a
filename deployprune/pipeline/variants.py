"""The files of a model's variants: cut out of one template where the exports of some probes agree, else exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx

from deployprune.backends.base import Backend
from deployprune.backends.registry import backend_of
from deployprune.export.formats import Material, get_format
from deployprune.export.template import OnnxTemplate, Sample, learn_template
from deployprune.files import TEMPORARY_PREFIX
from deployprune.pipeline.exporting import write_formats
from deployprune.pipeline.workbench import Workbench
from deployprune.profiling.dims import DimIndex
from deployprune.profiling.table import choose_probes, choose_variants
from deployprune.progress import Task

__all__ = ["Variants", "export_widths", "first_units", "variant_files"]

_PROBES = 1  # real exports that a template is learned from at first, besides dense
_MOST_PROBES = 6


def first_units(widths: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The first units of every group: latency depends on how many stay, not on which."""
    return {name: tuple(range(width)) for name, width in widths.items()}


def export_widths(bench: Workbench, widths: dict[str, int], stem: Path, formats: Sequence[str]) -> dict[str, Path]:
    """Export the model at these widths, for timing."""
    module = bench.analysis.prune_shapes(first_units(widths))
    return write_formats(module, bench.examples(), bench.specs, stem, formats, static=bench.config.export.static)


@dataclass(frozen=True)
class Variants:
    """Variants of one model as files, made on first use; ``widths[0]`` is dense, of which there may be files already.

    Those are ``dense``, by format.
    """

    bench: Workbench
    widths: tuple[dict[str, int], ...]
    folder: Path
    dense: Mapping[str, Path] = field(default_factory=dict)

    def path(self, index: int, backend: Backend) -> Path:
        """The file of variant ``index`` that ``backend`` opens."""
        if index == 0 and backend.format in self.dense:
            return self.dense[backend.format]
        return self.file(f"variant-{index}", self.widths[index], backend)

    def write_all(self, backends: Sequence[Backend], task: Task, share: float = 1.0) -> None:
        """Make every file that these backends open, before anything is timed: exports keep the cores busy.

        It moves ``task`` on to ``share``.
        """
        for index in range(len(self.widths)):
            task.update(share * index / len(self.widths), note=f"file {index + 1} of {len(self.widths)}")
            for backend in backends:
                self.path(index, backend)

    def file(self, name: str, widths: dict[str, int], backend: Backend) -> Path:
        """The file called ``name`` of the model at ``widths``."""
        stem = self.folder / name
        path = get_format(backend.format).path(stem)
        if not path.exists():
            self._make(stem, widths)
        return path

    def _make(self, stem: Path, widths: dict[str, int]) -> None:
        formats = [get_format(name) for name in _formats(self.bench)]
        path, examples = get_format("onnx").path(stem), self.bench.examples()
        module = self.bench.module
        if self.template is None or not all(found.from_onnx for found in formats):
            module = self.bench.analysis.prune_shapes(first_units(widths))
        if self.template is not None:
            self.template.write(widths, path)
        elif any(found.from_onnx for found in formats):
            write_formats(module, examples, self.bench.specs, stem, (), static=self.bench.config.export.static)
        names = tuple(spec.name for spec in self.bench.specs)
        material = Material(module=module, examples=examples, input_names=names, onnx=path)
        for found in formats:
            found.write(material, found.path(stem))

    @cached_property
    def template(self) -> OnnxTemplate | None:
        """What ONNX files are cut out of, once it foretold a real export that it was not learned from; else None."""
        if not any(get_format(name).from_onnx for name in _formats(self.bench)):
            return None
        analysis, groups = self.bench.analysis.record, self.bench.groups
        probes = choose_probes(groups, _MOST_PROBES, self.bench.config.seed)
        samples = [self._sample(index, widths) for index, widths in enumerate((self.widths[0], *probes[:_PROBES]))]
        for widths in probes[_PROBES:]:
            found = learn_template(samples, DimIndex(analysis, [each.widths for each in samples], paddings=()).find)
            samples.append(self._sample(len(samples), widths))
            if found is not None and found.foretells(samples[-1]):
                return found
        return None

    def _sample(self, index: int, widths: dict[str, int]) -> Sample:
        path = self.dense.get("onnx")
        if index or path is None:
            stem = self.folder / (f"probe-{index}" if index else "variant-0")
            path = export_widths(self.bench, widths, stem, _formats(self.bench) if index == 0 else ())["onnx"]
        return Sample(model=onnx.load(path, load_external_data=False), widths=widths)


@contextmanager
def variant_files(
    bench: Workbench, count: int, folder: Path | None = None, dense: Mapping[str, Path] | None = None
) -> Iterator[Variants]:
    """``count`` variants whose files are gone when the tables are measured, but for the ``dense`` ones given by format.

    They are written below ``folder``, or else among the system's temporary files. What a killed process left there is
    known by its name: :func:`deployprune.files.remove_unfinished` removes it.
    """
    chosen = choose_variants(bench.groups, count, bench.config.seed)
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder) as place:
        yield Variants(bench, tuple(chosen), Path(place).resolve(), dense or {})


def _formats(bench: Workbench) -> list[str]:
    return sorted({backend_of(target).format for target in bench.targets})
