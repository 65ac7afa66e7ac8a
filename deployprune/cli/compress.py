"""``deployprune compress``: the whole way from a trained model to files with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.help_page import SectionedCommand
from deployprune.cli.settings import Given, config_options
from deployprune.options import Config
from deployprune.processes import is_assistant

if TYPE_CHECKING:
    from deployprune.rundir import RunDirectory

__all__ = ["command", "run_compression"]

TRUST = "model.trust_pickle"


@click.command("compress", cls=SectionedCommand)
@config_options("model", "target", "data", "pruning", "table", "recovery", "export", "verification", "seed", "output")
@output_options
@click.option("--resume", metavar="RUN", type=click.Path(path_type=Path), help="go on with an interrupted run")
def command(output: Output, given: Given, resume: Path | None) -> None:
    """Prune MODEL to a latency budget, and prove that it is met.

    The way: measure latency tables, plan the widths, prune, recover the accuracy, export to what the backends run,
    and time the files against the dense model. Every step is kept in a run directory, so that --resume can go on.

    \b
    deployprune compress model.pt --input 1x3x32x32 --speedup 2x --data images/
    deployprune compress weights.safetensors --arch nets:resnet --target-latency 30ms

    Training runs on all processes that torchrun or accelerate launch starts; the first does everything else.

    \b
    torchrun --nproc-per-node 4 -m deployprune compress model.pt --input 1x3x32x32 --speedup 2x --data images/
    """
    if resume is None:
        run_compression(given.load(), output)
        return
    given.refuse_changes("run", [TRUST])
    _resume(resume, output, trust_pickle=TRUST in given.flags)


def run_compression(config: Config, output: Output) -> None:
    """Make a new run, compress in it, show the report and end with the verdict's exit code."""
    from deployprune.config import require_model, require_target
    from deployprune.rundir import RunDirectory

    require_model(config)
    require_target(config)
    if is_assistant():
        _assist(trust_pickle=config.model.trust_pickle)
        return
    with RunDirectory.create(Path(config.output), config) as run:
        _compress(config, run, output)


def _resume(root: Path, output: Output, *, trust_pickle: bool) -> None:
    import msgspec

    from deployprune.rundir import RunDirectory

    if is_assistant():
        _assist(trust_pickle=trust_pickle)
        return
    with RunDirectory.open(root) as run:
        model = msgspec.structs.replace(run.config.model, trust_pickle=trust_pickle)
        _compress(msgspec.structs.replace(run.config, model=model), run, output)


def _assist(*, trust_pickle: bool) -> None:
    """Train along with the main process, which has the verdict and its exit code to tell."""
    from deployprune.pipeline import assist

    assist(trust_pickle=trust_pickle)


def _compress(config: Config, run: RunDirectory, output: Output) -> None:
    from deployprune.pipeline import compress
    from deployprune.reporting.terminal import render_terminal

    output.works_in(run.root)
    record = compress(config, run=run, observer=output.observer())
    output.show(record, lambda: render_terminal(run))
    output.end(record.verdict)
