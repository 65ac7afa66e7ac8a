"""How a long step tells what it is doing, without knowing who listens.

The library speaks to an :class:`Observer`; the command line shows it on stderr, and Python callers who say nothing
get the :class:`SilentObserver`::

    with observer.step("Measuring the latency table") as task:
        for index, variant in enumerate(variants):
            task.update(index / len(variants), note=f"variant {index + 1} of {len(variants)}")
        task.finish("24 variants, noise 1.2 %")
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Observer", "Part", "SilentObserver", "Task"]


class Task(Protocol):
    """One step under way."""

    def update(self, fraction: float, note: str = "") -> None:
        """Say how much is done (0 to 1) and, in a few words, what is being done."""
        ...

    def finish(self, summary: str) -> None:
        """Give the one line that stays when the step has ended."""
        ...


class Part:
    """A share of a task, from ``start`` to ``stop`` of it (0 to 1), seen as a task of its own called ``title``."""

    def __init__(self, task: Task, start: float, stop: float, title: str = "") -> None:
        self._task = task
        self._start = start
        self._length = stop - start
        self._title = title

    def update(self, fraction: float, note: str = "") -> None:
        """Say how much of the part is done."""
        words = ": ".join(filter(None, (self._title, note)))
        self._task.update(self._start + fraction * self._length, note=words)

    def finish(self, summary: str) -> None:
        """Drop the summary: the whole task has one."""


class Observer(Protocol):
    """Somebody who wants to know how a run goes."""

    def step(self, title: str) -> AbstractContextManager[Task]:
        """Begin a step; it ends with the context, as failed if the context is left by an exception."""
        ...

    def message(self, text: str) -> None:
        """Tell something that the user should know."""
        ...

    def warning(self, text: str) -> None:
        """Tell something that the user should look at."""
        ...


class SilentObserver:
    """An observer that shows nothing."""

    def step(self, title: str) -> AbstractContextManager[Task]:
        """Begin a step that nobody sees."""
        return nullcontext(_SilentTask())

    def message(self, text: str) -> None:
        """Drop the message."""

    def warning(self, text: str) -> None:
        """Drop the warning."""


class _SilentTask:
    def update(self, fraction: float, note: str = "") -> None:
        """Drop the progress."""

    def finish(self, summary: str) -> None:
        """Drop the summary."""
