"""What every command has: ``--json``, ``--quiet``, ``--debug``, and where its output goes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployprune.cli.failures import DEBUG, EXIT_CODES, RESUME
from deployprune.progress import Observer, SilentObserver
from deployprune.records import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Output", "output_options"]

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Output:
    """How a command answers: results go to stdout, progress to stderr."""

    json: bool
    quiet: bool

    def observer(self) -> Observer:
        """Who is told of the progress."""
        if self.quiet:
            return SilentObserver()
        from deployprune.cli.observer import observer_for

        return observer_for(sys.stderr)

    def show(self, record: object, page: Callable[[], RenderableType]) -> None:
        """Print the record as JSON and nothing else, or the page made for people."""
        if self.json:
            from deployprune.codec import to_json

            click.echo(to_json(record))
            return
        from rich.console import Console

        Console(file=sys.stdout).print(page())

    def works_in(self, root: Path, command: str = "compress") -> None:
        """Remember the folder, so that an interruption can say how to go on with ``command``, and tell where it is."""
        click.get_current_context().meta[RESUME] = f"{command} --resume {root}"
        self.observer().message(f"{'run' if command == 'compress' else command} directory: {root}")

    def end(self, verdict: Verdict) -> None:
        """End the command with the verdict's exit code."""
        click.get_current_context().exit(EXIT_CODES[verdict])


def output_options(function: Function) -> Function:
    """Add ``--json --quiet --debug``; the decorated command gets an :class:`Output` as its first argument."""

    @functools.wraps(function)
    def command(*args: Any, as_json: bool, quiet: bool, debug: bool, **values: Any) -> Any:
        click.get_current_context().meta[DEBUG] = debug
        return function(Output(as_json, quiet), *args, **values)

    for option in (
        click.option("--debug", is_flag=True, help="show the traceback of an error"),
        click.option("-q", "--quiet", is_flag=True, help="show no progress"),
        click.option("--json", "as_json", is_flag=True, help="print the record as JSON and nothing else"),
    ):
        command = option(command)
    return command
