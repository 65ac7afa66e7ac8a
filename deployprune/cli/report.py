"""``deployprune report``: show a run again, on any machine and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployprune.cli.common import Output, output_options

if TYPE_CHECKING:
    from deployprune.rundir import RunDirectory

__all__ = ["command"]

PAGE_WIDTH = 100


@click.command("report")
@output_options
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["terminal", "markdown"]), default="terminal", show_default=True)
@click.option("--output", "target", type=click.Path(path_type=Path, dir_okay=False), help="write a file instead")
def command(output: Output, run: Path, form: str, target: Path | None) -> None:
    """Show the report of RUN, a run directory.

    An interrupted run shows how far it came. Works on a machine without torch or any runtime.
    """
    from deployprune.rundir import RunDirectory

    directory = RunDirectory.view(run)
    if target is not None:
        _write(_as_text(directory, form), target)
    elif form == "markdown" and not output.json:
        click.echo(_as_text(directory, form), nl=False)
    else:
        from deployprune.reporting.terminal import render_terminal

        output.show(directory.records(), lambda: render_terminal(directory))


def _as_text(run: RunDirectory, form: str) -> str:
    if form == "markdown":
        from deployprune.reporting.markdown import render_markdown

        return render_markdown(run)
    from rich.console import Console

    from deployprune.reporting.terminal import render_terminal

    console = Console(width=PAGE_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as page:
        console.print(render_terminal(run))
    return page.get()


def _write(text: str, path: Path) -> None:
    from deployprune.files import write_atomic

    write_atomic(path, text.encode())
