"""``deployprune verify``: compare two files on the runtimes they ship to."""

from __future__ import annotations

from pathlib import Path

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.help_page import SectionedCommand
from deployprune.cli.settings import Given, config_options

__all__ = ["command"]

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("verify", cls=SectionedCommand)
@config_options("model.inputs", "target", "data", "verification.budget_seconds", "verification.apart_seconds", "seed")
@output_options
@click.argument("baseline", type=FILE)
@click.argument("candidate", type=FILE)
def command(output: Output, given: Given, baseline: Path, candidate: Path) -> None:
    """Compare two files on the runtimes they ship to.

    CANDIDATE is timed against BASELINE in interleaved rounds; with --speedup or --target-latency that is the budget.
    """
    from deployprune.pipeline import verify_files
    from deployprune.reporting.terminal import render_verification

    record = verify_files(given.load(), baseline, candidate, observer=output.observer())
    output.show(record, lambda: render_verification(record, candidate.name))
    output.end(record.verdict)
