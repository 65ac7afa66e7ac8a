"""Progress on stderr: a live bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from deployprune.progress import Observer, Task

__all__ = ["observer_for"]

QUIET_SECONDS = 10.0


def observer_for(stream: TextIO) -> Observer:
    """The observer that suits the stream; ``NO_COLOR`` is honoured by rich."""
    console = Console(file=stream, highlight=False)
    return LiveObserver(console) if console.is_terminal else LineObserver(console)


class _ConsoleObserver:
    """Messages and warnings, the same for both."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def message(self, text: str) -> None:
        """Print the message on a line of its own."""
        self._console.print(Text(text), soft_wrap=True)

    def warning(self, text: str) -> None:
        """Print the warning on a line of its own."""
        self._console.print(Text.assemble(("warning: ", "yellow"), text), soft_wrap=True)

    def _close(self, mark: str, style: str, title: str, summary: str, seconds: float) -> None:
        line = Text.assemble((f"{mark} ", style), (title, "bold"), f"  {summary}" if summary else "")
        self._console.print(line.append(f"  {seconds:.1f} s", "dim"), soft_wrap=True)


class LiveObserver(_ConsoleObserver):
    """A spinner and a bar with the time that remains; one line stays of every step."""

    @contextmanager
    def step(self, title: str) -> Iterator[Task]:
        """Show the step until it ends."""
        started = time.monotonic()
        columns = (
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = _LiveTask(progress, progress.add_task(title, total=None, note=""))
            try:
                yield task
            except BaseException:
                self._close("✗", "red", title, "", time.monotonic() - started)
                raise
        self._close("✓", "green", title, task.summary, time.monotonic() - started)


class _LiveTask:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self.summary = ""

    def update(self, fraction: float, note: str = "") -> None:
        """Move the bar."""
        self._progress.update(self._task, total=1.0, completed=fraction, note=note)

    def finish(self, summary: str) -> None:
        """Keep the line that stays."""
        self.summary = summary


class LineObserver(_ConsoleObserver):
    """A line when a step begins and ends, and now and then while it lasts: for logs and CI."""

    @contextmanager
    def step(self, title: str) -> Iterator[Task]:
        """Tell that the step begins, and how it ended."""
        started = time.monotonic()
        self.message(f"{title} ...")
        task = _LineTask(self, title, started)
        try:
            yield task
        except BaseException:
            self._close("failed:", "red", title, "", time.monotonic() - started)
            raise
        self._close("done:", "green", title, task.summary, time.monotonic() - started)


class _LineTask:
    def __init__(self, observer: LineObserver, title: str, started: float) -> None:
        self._observer = observer
        self._title = title
        self._started = self._told = started
        self.summary = ""

    def update(self, fraction: float, note: str = "") -> None:
        """Tell how far it is when nothing was told for a while."""
        now = time.monotonic()
        if now - self._told < QUIET_SECONDS:
            return
        self._told = now
        remaining = f", about {(now - self._started) * (1 / fraction - 1):.0f} s left" if fraction > 0 else ""
        self._observer.message(f"{self._title}: {100 * fraction:.0f} %{remaining}  {note}".rstrip())

    def finish(self, summary: str) -> None:
        """Keep the words for the last line."""
        self.summary = summary
