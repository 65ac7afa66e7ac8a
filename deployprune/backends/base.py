"""The seam between deployprune and a runtime: two small protocols that a backend implements, and what they share.

A backend is found by name (:mod:`deployprune.backends.registry`), opens a file for a target, and gives a session;
a session runs and times that one file. Everything else, such as rounds, medians and verdicts, is built on top.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from deployprune.errors import UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Backend", "Closing", "Session", "check_target", "require_file", "time_many"]


class Session(Protocol):
    """One file, opened by its runtime for one target. A context manager: leaving it closes it.

    Several sessions may be open at once; none of them computes while it is not asked to.
    """

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The model's inputs in order, with the batch that the file was opened at."""
        ...

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for a wrong input name, shape or dtype."""
        ...

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs that :meth:`time_once` uses. Raises UsageError as :meth:`run` does."""
        ...

    def time_once(self) -> float:
        """Milliseconds that one inference of the bound inputs takes. Raises UsageError when nothing is bound."""
        ...

    def close(self) -> None:
        """Free the runtime's memory and threads; harmless when called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class _FarSession(Protocol):
    """A session that is asked from far away: several inferences in one question leave no gaps between them.

    A runtime's own benchmark may tell the middle of them alone.
    """

    def time_many(self, count: int) -> list[float]: ...


def time_many(session: Session, count: int) -> list[float]:
    """Milliseconds of ``count`` inferences of the bound inputs, back to back: of each, or one middle of all."""
    if isinstance(session, _FarSession):
        return session.time_many(count)
    return [session.time_once() for _ in range(count)]


class Closing:
    """What sessions are built on: a context that closes itself when it is left."""

    def close(self) -> None:
        """Free what is held; harmless when called twice."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Backend(Protocol):
    """A runtime that can open, run and time files of one format."""

    @property
    def name(self) -> str:
        """How users call it: ``onnxruntime``."""
        ...

    @property
    def format(self) -> str:
        """The artifact it opens: ``onnx`` (``.onnx``) or ``openvino`` (``.xml`` with its ``.bin``)."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """The values of ``Target.precision`` that it honours; the first is the default."""
        ...

    def availability(self) -> Availability:
        """Whether it can be used here, found out without importing the runtime."""
        ...

    def load(self) -> None:
        """Import the runtime. Raises BackendUnavailableError when it is not installed."""
        ...

    def open(self, path: Path, target: Target) -> Session:
        """Open ``path`` at batch ``target.batch``, even where the file's own batch is dynamic.

        Raises UsageError (no such file, or a target it cannot honour), ExportError (a file the runtime refuses) and
        BackendUnavailableError.
        """
        ...

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Typical ms of every node that executed, by the runtime's own timer over ``runs`` inferences.

        Names are stable between files that differ in widths only; shapes are logical (not padded to the runtime's
        block), with weights among the inputs where they are known. Raises what :meth:`open` raises.
        """
        ...


def require_file(path: Path) -> None:
    """Raise UsageError when ``path`` is not a file."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name an exported model file: .onnx, or .xml with its .bin")


def check_target(backend: Backend, target: Target) -> None:
    """Raise UsageError when ``target`` asks for what ``backend`` cannot honour."""
    if target.precision not in backend.precisions:
        raise UsageError(
            f"{backend.name} cannot run at precision {target.precision!r}",
            hint=f"choose one of: {', '.join(backend.precisions)}",
        )
    if target.threads < 1 or target.batch < 1:
        raise UsageError(
            f"threads={target.threads} and batch={target.batch} must both be at least 1",
            hint="set --threads and --batch to whole numbers above zero",
        )
