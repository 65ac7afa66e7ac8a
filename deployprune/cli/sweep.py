"""``deployprune sweep``: several speed-ups of one model, and what each of them costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.help_page import SectionedCommand
from deployprune.cli.settings import Given, config_options
from deployprune.processes import is_assistant
from deployprune.units import parse_speedup

if TYPE_CHECKING:
    from deployprune.sweepdir import SweepDirectory

__all__ = ["command"]

SECTIONS = ("model", "target", "data", "pruning", "table", "recovery", "export", "verification", "seed", "output")
BUDGETS = ("target.latency", "target.speedup")
FACTORS = "1.5x,2x,3x,4x"
TRUST = "model.trust_pickle"


@click.command("sweep", cls=SectionedCommand)
@config_options(*SECTIONS, without=BUDGETS)
@output_options
@click.option("--speedups", metavar="FACTORS", help=f"latency budgets as factors  [default: {FACTORS}]")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="draw accuracy against measured latency, as .svg or .png",
)
@click.option("--resume", metavar="FOLDER", type=click.Path(path_type=Path), help="go on with an interrupted sweep")
def command(output: Output, given: Given, speedups: str | None, picture: Path | None, resume: Path | None) -> None:
    """Prune MODEL to several speed-ups, and show what each costs.

    Every speed-up is a run of its own, as `compress` makes it; the latency tables are measured once. One that no
    widths reach is shown as such, and the others go on.

    \b
    deployprune sweep model.pt --input 1x3x32x32 --data images/ --speedups 1.5x,2x,3x --picture curve.svg

    Exit code: 0 where all speed-ups are reached, 1 where one is missed or refused, 5 where it cannot be told.
    """
    from deployprune.reporting.pictures.files import require_pictures

    if picture is not None:
        require_pictures(picture)
    if is_assistant():
        _assist(trust_pickle=TRUST in given.flags)
    elif resume is None:
        _begin(output, given, FACTORS if speedups is None else speedups, picture)
    else:
        _resume(output, given, speedups, picture, resume)


def _begin(output: Output, given: Given, speedups: str, picture: Path | None) -> None:
    from deployprune.config import require_model
    from deployprune.sweepdir import SweepDirectory

    factors = [parse_speedup(text) for text in speedups.split(",")]
    config = given.load()
    require_model(config)
    with SweepDirectory.create(Path(config.output), config, factors) as directory:
        _sweep(output, directory, picture)


def _resume(output: Output, given: Given, speedups: str | None, picture: Path | None, root: Path) -> None:
    from deployprune.sweepdir import SweepDirectory

    given.refuse_changes("sweep", [TRUST], *(["--speedups"] if speedups else []))
    with SweepDirectory.open(root, trust_pickle=TRUST in given.flags) as directory:
        _sweep(output, directory, picture)


def _assist(*, trust_pickle: bool) -> None:
    """Train along with the main process, which has the record and its exit code to tell."""
    from deployprune.pipeline import assist_sweep

    assist_sweep(trust_pickle=trust_pickle)


def _sweep(output: Output, directory: SweepDirectory, picture: Path | None) -> None:
    from deployprune.pipeline import sweep
    from deployprune.reporting.pictures.files import draw_sweep
    from deployprune.reporting.terminal import render_sweep

    output.works_in(directory.root, "sweep")
    record = sweep(directory, output.observer())
    if picture is not None:
        draw_sweep(record, picture)
        output.observer().message(f"picture: {picture}")
    output.show(record, lambda: render_sweep(record))
    output.end(record.verdict)
