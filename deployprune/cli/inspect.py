"""``deployprune inspect``: what of a model can be pruned, and what cannot and why."""

from __future__ import annotations

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.settings import Given, SectionedCommand, config_options

__all__ = ["command"]


@click.command("inspect", cls=SectionedCommand)
@config_options("model", "pruning.ignore", "seed")
@output_options
def command(output: Output, given: Given) -> None:
    """List what of MODEL can be pruned, and what cannot and why."""
    from deployprune.config import require_model
    from deployprune.pipeline import inspect_model
    from deployprune.reporting.pages import render_analysis

    config = given.load()
    require_model(config)
    analysis = inspect_model(config, output.observer())
    output.show(analysis, lambda: render_analysis(analysis))
