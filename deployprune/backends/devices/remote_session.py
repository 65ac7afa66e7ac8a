"""Backends and sessions of an agent look like local ones, and survive a lost connection to its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.devices.link import Link
from deployprune.backends.devices.wire import pack_arrays, unpack_arrays
from deployprune.backends.feeds import check_feeds
from deployprune.errors import UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RemoteBackend", "RemoteSession", "Way"]

T = TypeVar("T")
_WARM_UP = 3


class NamedModel(Protocol):
    """A model's files, as an agent is told of them."""

    def arguments(self, link: Link, target: Target) -> dict[str, Any]:
        """How a call names the model, once the agent has it."""
        ...


class Way(Protocol):
    """The way to an agent."""

    def model(self, path: Path) -> NamedModel:
        """The model in the file ``path``, as the agent is told of it."""
        ...

    def attempt(self, work: Callable[[Link], T]) -> T:
        """``work`` with a link to the agent; raises an error of deployprune's where there is none any more."""
        ...

    def close_session(self, link: Link, number: int) -> None:
        """Close a session where the link still stands."""
        ...


class RemoteBackend:
    """A backend of an agent, on a device or in another process: it opens local files there."""

    def __init__(
        self,
        way: Way,
        *,
        name: str,
        format: str,  # noqa: A002 - the protocol's own word
        precisions: tuple[str, ...],
        availability: Availability,
    ) -> None:
        self._way = way
        self.name = name
        self.format = format
        self.precisions = precisions
        self._availability = availability

    def availability(self) -> Availability:
        """What there is."""
        return self._availability

    def load(self) -> None:
        """Nothing: the agent imports the runtime when it opens a file."""

    def open(self, path: Path, target: Target) -> RemoteSession:
        """Open ``path`` there; errors as in :class:`deployprune.backends.base.Backend`, and DeviceError."""
        require_file(path)
        check_target(self, target)
        return RemoteSession(self._way, self._way.model(path), target)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times by the agent's runtime."""
        require_file(path)
        check_target(self, target)
        model = self._way.model(path)
        described, blocks = _pack(feeds)

        def work(link: Link) -> Any:
            return link.call("node_times", {**model.arguments(link, target), "feeds": described, "runs": runs}, blocks)

        return tuple(msgspec.convert(node, NodeTime) for node in self._way.attempt(work)[0])


class RemoteSession(Closing):
    """A file that an agent has open. After a lost connection it is opened, bound and warmed up again."""

    def __init__(self, way: Way, model: NamedModel, target: Target) -> None:
        self._way = way
        self._model = model
        self._target = target
        self._bound: dict[str, np.ndarray] | None = None
        self._link: Link | None = None
        self._number = 0
        self._inputs: tuple[InputSpec, ...] = ()
        way.attempt(self._ensure)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs, and DeviceError."""
        check_feeds(self._inputs, feeds)
        described, blocks = _pack(feeds)
        return self._way.attempt(
            lambda link: unpack_arrays(*link.call("run", {"session": self._ensure(link), "feeds": described}, blocks))
        )

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs, and DeviceError."""
        check_feeds(self._inputs, feeds)
        self._bound = {name: array.copy() for name, array in feeds.items()}
        self._way.attempt(lambda link: self._bind(link, self._ensure(link)))

    def time_once(self) -> float:
        """Milliseconds of one inference by the agent's clock. Raises UsageError when nothing is bound."""
        return self.time_many(1)[0]

    def time_many(self, count: int) -> list[float]:
        """The same of ``count`` inferences back to back, with nothing sent between them."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")

        def work(link: Link) -> list[float]:
            return [float(ms) for ms in link.call("time", {"session": self._ensure(link), "count": count})[0]]

        return self._way.attempt(work)

    def close(self) -> None:
        """Close the file there, if it is open."""
        link, self._link = self._link, None
        if link is not None:
            self._way.close_session(link, self._number)

    def _ensure(self, link: Link) -> int:
        """The session's number on ``link``, opened there if it was not."""
        if self._link is not link:
            found, _ = link.call("open", self._model.arguments(link, self._target))
            self._number = int(found["session"])
            self._inputs = tuple(msgspec.convert(spec, InputSpec) for spec in found["inputs"])
            if self._bound is not None:
                self._bind(link, self._number)
                link.call("time", {"session": self._number, "count": _WARM_UP})
            self._link = link
        return self._number

    def _bind(self, link: Link, number: int) -> None:
        described, blocks = _pack(self._bound or {})
        link.call("bind", {"session": number, "feeds": described}, blocks)


def _pack(feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], list[bytes]]:
    described, blocks = pack_arrays(feeds.values())
    return dict(zip(feeds, described, strict=True)), blocks
