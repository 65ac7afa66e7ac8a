"""``deployprune profile``: measure a model's latency tables, or what this device is good at."""

from __future__ import annotations

from pathlib import Path

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.device import check_file, merge_files, profile_device
from deployprune.cli.help_page import SectionedCommand
from deployprune.cli.settings import Given, config_options
from deployprune.config import Config

__all__ = ["command"]

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
SETTINGS = (
    "model",
    "target.backends",
    "target.threads",
    "target.batch",
    "target.device",
    "target.precision",
    "table.variants",
    "table.rounds",
    "export",
    "seed",
)


@click.command("profile", cls=SectionedCommand)
@config_options(*SETTINGS)
@output_options
@click.option("--layers", type=click.IntRange(min=0), default=10, show_default=True, help="slowest layers to show")
@click.option(
    "--budget-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="without a model: most seconds of measuring on one backend",
)
@click.option("--check", type=FILE, help="is this device table still true here? measures a few of its cells again")
@click.option("--merge", nargs=2, type=FILE, metavar="A B", help="write two tables of one device as one, --output")
@click.option("--force", is_flag=True, help="use a table of another device all the same")
@click.option("--pictures", type=FOLDER, metavar="FOLDER", help="draw what was measured as SVG files")
@click.option(
    "-o",
    "--output",
    "place",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="folder of run directories  [default: runs], of device tables  [default: profiles], or the merged file",
)
def command(
    output: Output,
    given: Given,
    layers: int,
    budget_seconds: float,
    check: Path | None,
    merge: tuple[Path, Path] | None,
    force: bool,
    pictures: Path | None,
    place: Path | None,
) -> None:
    """Measure MODEL's layers, or what this device is good at.

    Of MODEL, whole variants of random widths are timed in context on every backend, with the runtime's own timer of
    every node. Without MODEL, a built-in suite of layers is timed at many widths: the channel step and its cliffs,
    throughput, threads.
    """
    if merge is not None:
        merge_files(output, merge, place, force=force)
        return
    config = given.load() if place is None else given.load(output=str(place))
    if check is not None:
        check_file(output, check, force=force, seed=config.seed)
    elif config.model.source is None:
        folder = place or Path("profiles")
        profile_device(output, config, folder=folder, budget_seconds=budget_seconds, pictures=pictures)
    else:
        _profile_model(output, config, layers, pictures)


def _profile_model(output: Output, config: Config, layers: int, pictures: Path | None) -> None:
    from deployprune.pipeline import profile_model
    from deployprune.reporting.pages import render_tables
    from deployprune.reporting.pictures.files import draw_model, require_pictures
    from deployprune.rundir import RunDirectory

    if pictures is not None:
        require_pictures()
    with RunDirectory.create(Path(config.output), config) as run:
        output.works_in(run.root)
        tables = profile_model(config, run=run, observer=output.observer())
    for picture in draw_model(tables, pictures) if pictures is not None else ():
        output.observer().message(f"picture: {picture}")
    output.show(tables, lambda: render_tables(tables, layers))
