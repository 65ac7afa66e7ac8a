"""``deployprune inspect``: what of a model can be pruned, and what cannot and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.help_page import SectionedCommand
from deployprune.cli.settings import Given, config_options

if TYPE_CHECKING:
    from deployprune.records import Analysis

__all__ = ["command"]

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("inspect", cls=SectionedCommand)
@config_options("model", "pruning.ignore", "seed")
@output_options
@click.option("--picture", type=FILE, help="draw the groups, as .svg or .png")
@click.option("--dot", type=FILE, help="write the groups as a graph in DOT, for Graphviz")
def command(output: Output, given: Given, picture: Path | None, dot: Path | None) -> None:
    """List what of MODEL can be pruned, and what cannot and why.

    Channels of one group are pruned together. What stays whole is told with the operation and the source line that
    it is owed to.
    """
    from deployprune.config import require_model
    from deployprune.reporting.pages import render_analysis
    from deployprune.reporting.pictures.files import require_pictures

    config = given.load()
    name = Path(require_model(config)).name
    if picture is not None:
        require_pictures(picture)
    from deployprune.pipeline import inspect_model

    analysis = inspect_model(config, output.observer())
    for path in _drawn(analysis, name, picture, dot):
        output.observer().message(f"picture: {path}")
    output.show(analysis, lambda: render_analysis(analysis))


def _drawn(analysis: Analysis, name: str, picture: Path | None, dot: Path | None) -> Iterator[Path]:
    from deployprune.files import write_atomic
    from deployprune.reporting.dot import render_dot
    from deployprune.reporting.pictures.files import draw_analysis

    if picture is not None:
        yield draw_analysis(analysis, name, picture)
    if dot is not None:
        write_atomic(dot, render_dot(analysis).encode())
        yield dot
