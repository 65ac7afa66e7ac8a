"""``deployprune report``: show a run again, on any machine and without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployprune.cli.common import Output, output_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from deployprune.rundir import RunDirectory

__all__ = ["command"]

PAGE_WIDTH = 100


@click.command("report")
@output_options
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["terminal", "markdown"]), default="terminal", show_default=True)
@click.option("--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="write a file instead")
def command(output: Output, run: Path, form: str, target: Path | None) -> None:
    """Show the report of RUN, the folder of a run or a sweep.

    An interrupted run shows how far it came. Works on a machine without torch or any runtime.
    """
    from deployprune.rundir import RunDirectory
    from deployprune.sweepdir import SweepDirectory

    report = _of_sweep(run) if SweepDirectory.holds_sweep(run) else _of_run(RunDirectory.view(run))
    if target is not None:
        _write(_as_text(report, form), target)
    elif form == "markdown" and not output.json:
        click.echo(_as_text(report, form), nl=False)
    else:
        output.show(report.records(), report.page)


@dataclass(frozen=True, slots=True)
class _Report:
    """One report in its three forms, each made when it is asked for."""

    records: Callable[[], object]
    page: Callable[[], RenderableType]
    markdown: Callable[[], str]


def _of_run(run: RunDirectory) -> _Report:
    from deployprune.reporting.markdown import render_markdown
    from deployprune.reporting.terminal import render_terminal

    return _Report(run.records, partial(render_terminal, run), partial(render_markdown, run))


def _of_sweep(root: Path) -> _Report:
    from deployprune.reporting.markdown import render_sweep_markdown
    from deployprune.reporting.terminal import render_sweep
    from deployprune.sweepdir import SweepDirectory

    record = SweepDirectory.view(root)
    return _Report(lambda: record, partial(render_sweep, record), partial(render_sweep_markdown, record))


def _as_text(report: _Report, form: str) -> str:
    if form == "markdown":
        return report.markdown()
    from rich.console import Console

    console = Console(width=PAGE_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as page:
        console.print(report.page())
    return page.get()


def _write(text: str, path: Path) -> None:
    from deployprune.files import write_atomic

    write_atomic(path, text.encode())
