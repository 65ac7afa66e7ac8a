"""``deployprune demo``: the whole thing once, on a small network and real data, in a few minutes."""

from __future__ import annotations

from pathlib import Path

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.compress import run_compression

__all__ = ["command"]


@click.command("demo")
@output_options
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default="deployprune-demo",
    show_default=True,
    help="folder for the model, the data and the run",
)
def command(output: Output, directory: Path) -> None:
    """Train a small network and compress it to half its latency.

    The data are the handwritten digits that come with scikit-learn: pip install 'deployprune[demo]'.
    """
    from deployprune.command_line import command_line
    from deployprune.demo import run_demo

    observer = output.observer()
    config = run_demo(directory, observer=observer)
    observer.message(f"$ {' '.join(command_line(config))}")
    run_compression(config, output)
