"""The ``deployprune`` command: its sub-commands, loaded when they are needed, and what ends it with which code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from deployprune import __version__
from deployprune.cli.failures import ends_command

__all__ = ["cli", "main"]

COMMANDS = ("compress", "sweep", "profile", "verify", "inspect", "report", "devices", "demo", "completion")
EPILOG = (
    "Exit codes: 0 pass, 1 budget failed, 2 wrong use, configuration or unsafe model, 3 unsupported model or missing "
    "backend, 4 export or parity failed, 5 inconclusive, 70 internal error, 130 interrupted."
)


CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group whose commands are one module each, ``deployprune.cli.<name>``, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"deployprune.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; every way it can fail ends in one message and an exit code."""
        with ends_command(ctx):
            return super().invoke(ctx)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="deployprune")
def cli() -> None:
    """Make a PyTorch model meet a latency budget on the runtime it ships to, and prove it.

    \b
    deployprune compress model.pt --input 1x3x224x224 --speedup 2x --data images/
    """


def _keep_stdout_for_results() -> None:
    """Let ``sys.stdout`` alone reach stdout; what native libraries print there (HiGHS does) goes to stderr."""
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    buffering = 1 if os.isatty(real) else -1
    sys.stdout = os.fdopen(real, "w", buffering, encoding=sys.stdout.encoding)


def main() -> None:
    """Run the command line of this process."""
    _keep_stdout_for_results()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without these letters must not end a run
    cli(prog_name="deployprune")
