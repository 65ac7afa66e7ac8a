"""Errors, interruption and verdicts as messages on stderr and exit codes."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from deployprune.errors import DeployPruneError
from deployprune.records import Verdict

__all__ = ["DEBUG", "EXIT_CODES", "RESUME", "ends_command"]

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 5}
USAGE = 2
INTERNAL = 70
INTERRUPTED = 130
DEBUG = "deployprune.debug"
RESUME = "deployprune.resume"


@contextmanager
def ends_command(ctx: click.Context) -> Iterator[None]:
    """End the command with the error's message, hint and exit code; ``ctx.meta`` says whether to show the traceback."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise  # click's own: it knows what to print
    except DeployPruneError as error:
        _end(ctx, error.exit_code, f"error: {error.message}", error.hint)
    except KeyboardInterrupt:
        _end(ctx, INTERRUPTED, "interrupted", _resume_hint(ctx))
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # the reader of our output has gone; click ends quietly
        where = f" ({error.filename})" if error.filename else ""
        _end(ctx, USAGE, f"error: {error.strerror or error}{where}", _resume_hint(ctx))
    except Exception as error:
        hint = "this is a bug in deployprune; run again with --debug to see where"
        _end(ctx, INTERNAL, f"internal error: {type(error).__name__}: {error}", hint)


def _end(ctx: click.Context, code: int, message: str, hint: str | None) -> None:
    if ctx.meta.get(DEBUG):
        click.echo(traceback.format_exc(), err=True, nl=False)
    color = False if os.environ.get("NO_COLOR") else None  # None lets click ask the terminal
    click.secho(message, err=True, fg="red" if code != INTERRUPTED else "yellow", color=color)
    if hint:
        click.echo(f"  {hint}", err=True)
    ctx.exit(code)


def _resume_hint(ctx: click.Context) -> str | None:
    resume: str | None = ctx.meta.get(RESUME)
    return None if resume is None else f"go on with: deployprune {resume}"
