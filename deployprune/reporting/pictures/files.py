"""Pictures as files, drawn by matplotlib where it is installed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from deployprune.errors import UsageError
from deployprune.files import write_atomic
from deployprune.reporting.pictures.style import SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deployprune.device.records import DeviceTable
    from deployprune.records import Analysis, LatencyTable, SweepRecord

__all__ = ["draw_analysis", "draw_device", "draw_model", "draw_sweep", "require_pictures"]

_SUFFIXES = (".svg", ".png")


def require_pictures(path: Path | None = None) -> None:
    """Raise UsageError where matplotlib is missing, or where ``path`` names no kind of picture that is drawn."""
    if find_spec("matplotlib") is None:
        raise UsageError("pictures need matplotlib, which is not installed", hint="pip install 'deployprune[pictures]'")
    if path is not None and path.suffix not in _SUFFIXES:
        raise UsageError(f"{path} names no picture that can be drawn", hint=f"end it in {' or '.join(_SUFFIXES)}")


def draw_device(table: DeviceTable, folder: Path) -> Iterator[Path]:
    """Draw a device's staircases and throughput below ``folder``; the files as they are written."""
    from deployprune.reporting.pictures.staircases import draw_staircases
    from deployprune.reporting.pictures.throughput import draw_throughput

    key = f"{table.target.backend}-{table.target.precision}-t{table.target.threads}"
    yield _write(folder / f"staircases-{key}.svg", partial(draw_staircases, table))
    yield _write(folder / f"throughput-{key}.svg", partial(draw_throughput, table))


def draw_model(tables: Mapping[str, LatencyTable], folder: Path) -> Iterator[Path]:
    """Draw where the dense model's time goes on every target; the files as they are written."""
    from deployprune.reporting.pictures.layers import draw_layers

    for key, table in tables.items():
        if table.runs and table.runs[0].nodes:
            yield _write(folder / f"layers-{key}.svg", partial(draw_layers, table))


def draw_sweep(record: SweepRecord, path: Path) -> Path:
    """Draw what speed costs, as SVG or PNG."""
    from deployprune.reporting.pictures.sweep import draw_curve

    return _write(path, partial(draw_curve, record))


def draw_analysis(analysis: Analysis, name: str, path: Path) -> Path:
    """Draw a model's channel groups, as SVG or PNG."""
    from deployprune.reporting.pictures.groups import draw_groups

    return _write(path, partial(draw_groups, analysis, name))


def _write(path: Path, draw: Callable[[], Figure]) -> Path:
    import matplotlib as mpl

    content = io.BytesIO()
    form = path.suffix.removeprefix(".")
    with mpl.rc_context(SETTINGS):
        draw().savefig(content, format=form, dpi=150, metadata={"Date": None} if form == "svg" else {})
    write_atomic(path, content.getvalue())
    return path
