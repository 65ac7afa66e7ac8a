"""``deployprune profile``: measure a model's latency tables."""

from __future__ import annotations

from pathlib import Path

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.settings import Given, SectionedCommand, config_options

__all__ = ["command"]


@click.command("profile", cls=SectionedCommand)
@config_options(
    "model",
    "target.backends",
    "target.threads",
    "target.batch",
    "target.precision",
    "table",
    "export",
    "seed",
    "output",
)
@output_options
@click.option("--layers", type=click.IntRange(min=0), default=10, show_default=True, help="slowest layers to show")
def command(output: Output, given: Given, layers: int) -> None:
    """Measure the latency tables of MODEL on every backend.

    Whole-model variants of random widths are timed in context, with the runtime's own timer of every node.
    """
    from deployprune.config import require_model
    from deployprune.pipeline import profile_model
    from deployprune.reporting.pages import render_tables
    from deployprune.rundir import RunDirectory

    config = given.load()
    require_model(config)
    with RunDirectory.create(Path(config.output), config) as run:
        output.works_in(run)
        tables = profile_model(config, run=run, observer=output.observer())
    output.show(tables, lambda: render_tables(tables, layers))
