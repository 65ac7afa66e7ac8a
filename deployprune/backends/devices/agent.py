"""The device's side: opens, runs and times files as it is told, frame by frame, until its input ends.

It runs in the device's own Python, from a zip that :mod:`deployprune.backends.devices.bootstrap` put there.
"""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deployprune.backends.base import Session
from deployprune.backends.devices.local import LocalDevice
from deployprune.backends.devices.store import Claim, ModelStore
from deployprune.backends.devices.wire import FrameError, pack_arrays, read_frame, unpack_arrays, write_frame
from deployprune.backends.registry import get_backend, require_backend
from deployprune.backends.telemetry import forbid_telemetry
from deployprune.errors import BackendUnavailableError, DeployPruneError, DeviceError, UsageError
from deployprune.host import overheated, read_temperature
from deployprune.records import Availability, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Agent", "serve"]

Answer = tuple[Any, list[bytes]]
_COOL_S = 90.0
_COOL_STEP_S = 3.0


def serve(reader: IO[bytes], writer: IO[bytes], cache: Path, client: str, wait_s: float) -> None:
    """Answer calls until ``reader`` ends or nobody listens any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the other side's to handle: it closes the input
    forbid_telemetry()
    agent = Agent(cache, client, wait_s)
    try:
        while True:
            message, blocks = read_frame(reader)
            result, back = _answer(agent, message, blocks)
            write_frame(writer, result, back)
    except (FrameError, OSError):
        return
    finally:
        agent.close()


def _answer(agent: Agent, message: Mapping[str, Any], blocks: list[bytes]) -> Answer:
    try:
        result, back = agent.answer(str(message["call"]), message["arguments"], blocks)
    except DeployPruneError as error:
        return {"error": type(error).__name__, "text": error.message, "hint": error.hint}, []
    except ImportError as error:
        hint = f"pip install {(error.name or 'numpy').partition('.')[0]}"
        return {"error": BackendUnavailableError.__name__, "text": str(error), "hint": hint}, []
    except Exception as error:  # a foreign runtime's: it must not end the agent
        return {"error": DeviceError.__name__, "text": f"{type(error).__name__}: {error}", "hint": None}, []
    return {"result": result}, back


class Agent:
    """The calls of one connection. It has the device while a session is open."""

    def __init__(self, cache: Path, client: str, wait_s: float) -> None:
        self._store = ModelStore(cache / "models")
        self._claim = Claim(cache / "lock", client, wait_s)
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
        self._claim.release()

    def _survey(self, blocks: list[bytes]) -> Answer:
        found = LocalDevice().survey()
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
            return LocalDevice().peak_memory_bytes(path, Target(**target)), []

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
        self._claim.take()
        try:
            if not self._sessions:
                _let_cool()
            yield
        finally:
            self._release()

    def _release(self) -> None:
        if not self._sessions:
            self._claim.release()


def _for_running(found: Availability) -> Availability:
    """With the command that installs what a device needs: it only runs files."""
    hint = f"pip install {' '.join(found.needs)}" if found.needs and not found.available else found.hint
    return replace(found, hint=hint)


def _feeds(described: Mapping[str, Any], blocks: Sequence[bytes]) -> dict[str, np.ndarray]:
    return dict(zip(described, unpack_arrays(described.values(), blocks), strict=True))


def _let_cool() -> None:
    """Wait while the device says that it slows itself down. Raises DeviceError when that does not end."""
    deadline = time.monotonic() + _COOL_S
    while (found := overheated()) is not None:
        if time.monotonic() > deadline:
            temperature, limit = found
            raise DeviceError(
                f"the device is too hot to measure on: {temperature:.0f} °C, and it slows down from {limit:.0f} °C",
                hint="let it cool or give it air; a run goes on with --resume",
            )
        time.sleep(_COOL_STEP_S)
