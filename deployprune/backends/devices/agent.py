"""The calls of the device's side: it opens, runs and times files as it is told."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deployprune.backends.base import Session
from deployprune.backends.devices.here import survey_here
from deployprune.backends.devices.store import Models
from deployprune.backends.devices.wire import pack_arrays, unpack_arrays
from deployprune.backends.memory import peak_memory_bytes
from deployprune.backends.registry import get_backend, require_backend
from deployprune.errors import DeviceError, UsageError
from deployprune.host import read_temperature
from deployprune.records import Availability, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Agent", "Answer", "Hold"]

Answer = tuple[Any, list[bytes]]
"""What a call gives: plain data, and blocks of bytes."""


class Hold(Protocol):
    """The right to measure here."""

    def take(self) -> None:
        """Have it, now or after a while; harmless when called twice. Raises DeviceError where it is not to be had."""
        ...

    def release(self) -> None:
        """Let others have it; harmless without."""
        ...


class Agent:
    """The calls of one connection: it finds models in ``store``, and has the device by ``hold`` while a session is
    open."""

    def __init__(self, store: Models, hold: Hold) -> None:
        self._store = store
        self._hold = hold
        self._sessions: dict[int, Session] = {}
        self._opened = 0
        self._calls: dict[str, Callable[..., Answer]] = {
            "survey": self._survey,
            "temperature": self._temperature,
            "backend": self._backend,
            "has": self._has,
            "store": self._add,
            "open": self._open,
            "run": self._run,
            "bind": self._bind,
            "time": self._time,
            "close": self._close,
            "node_times": self._node_times,
            "peak_memory": self._peak_memory,
        }

    def answer(self, call: str, arguments: Mapping[str, Any], blocks: list[bytes]) -> Answer:
        """The result of a call, plain data, and its blocks. Raises DeployPruneError, and what runtimes raise."""
        if call not in self._calls:
            raise DeviceError(f"there is no call {call!r}")
        return self._calls[call](blocks, **arguments)

    def close(self) -> None:
        """Close all sessions and let the device go."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._release()

    def _survey(self, blocks: list[bytes]) -> Answer:
        found = survey_here()
        return asdict(replace(found, backends=tuple(map(_for_running, found.backends)))), []

    def _temperature(self, blocks: list[bytes]) -> Answer:
        return read_temperature(), []

    def _backend(self, blocks: list[bytes], *, name: str) -> Answer:
        backend = get_backend(name)
        availability = asdict(_for_running(backend.availability()))
        return {"format": backend.format, "precisions": backend.precisions, "availability": availability}, []

    def _has(self, blocks: list[bytes], *, digest: str) -> Answer:
        return self._store.find(digest) is not None, []

    def _add(self, blocks: list[bytes], *, digest: str, names: Sequence[str]) -> Answer:
        self._store.add(digest, names, blocks)
        return None, []

    def _open(self, blocks: list[bytes], *, digest: str, name: str, target: Mapping[str, Any]) -> Answer:
        path, wanted = self._model(digest, name), Target(**target)
        with self._claimed():
            session = require_backend(wanted.backend).open(path, wanted)
            self._opened += 1
            self._sessions[self._opened] = session
        return {"session": self._opened, "inputs": [asdict(spec) for spec in session.inputs]}, []

    def _run(self, blocks: list[bytes], *, session: int, feeds: Mapping[str, Any]) -> Answer:
        outputs = self._session(session).run(_feeds(feeds, blocks))
        return pack_arrays(outputs)

    def _bind(self, blocks: list[bytes], *, session: int, feeds: Mapping[str, Any]) -> Answer:
        self._session(session).bind(_feeds(feeds, blocks))
        return None, []

    def _time(self, blocks: list[bytes], *, session: int, count: int) -> Answer:
        timed = self._session(session)
        gc.disable()  # not in the middle of a sample
        try:
            return [timed.time_once() for _ in range(count)], []
        finally:
            gc.enable()

    def _close(self, blocks: list[bytes], *, session: int) -> Answer:
        if found := self._sessions.pop(session, None):
            found.close()
        self._release()
        return None, []

    def _node_times(
        self,
        blocks: list[bytes],
        *,
        digest: str,
        name: str,
        target: Mapping[str, Any],
        feeds: Mapping[str, Any],
        runs: int,
    ) -> Answer:
        path, wanted = self._model(digest, name), Target(**target)
        with self._claimed():
            nodes = require_backend(wanted.backend).node_times(path, wanted, _feeds(feeds, blocks), runs)
        return [asdict(node) for node in nodes], []

    def _peak_memory(self, blocks: list[bytes], *, digest: str, name: str, target: Mapping[str, Any]) -> Answer:
        path = self._model(digest, name)
        with self._claimed():
            return peak_memory_bytes(path, Target(**target)), []

    def _model(self, digest: str, name: str) -> Path:
        folder = self._store.find(digest)
        if folder is None:
            raise DeviceError(f"the model {name} is not on the device any more", hint="start again")
        return folder / name

    def _session(self, number: int) -> Session:
        if number not in self._sessions:
            raise UsageError("the session is closed", hint="open the file again")
        return self._sessions[number]

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Have the device for oneself, and cool, until nothing is open on it any more."""
        try:
            self._hold.take()
            yield
        finally:
            self._release()

    def _release(self) -> None:
        if not self._sessions:
            self._hold.release()


def _for_running(found: Availability) -> Availability:
    """With the command that installs what a device needs: it only runs files."""
    hint = f"pip install {' '.join(found.needs)}" if found.needs and not found.available else found.hint
    return replace(found, hint=hint)


def _feeds(described: Mapping[str, Any], blocks: Sequence[bytes]) -> dict[str, np.ndarray]:
    return dict(zip(described, unpack_arrays(described.values(), blocks), strict=True))
