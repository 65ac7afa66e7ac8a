"""A device with an agent: its backends and sessions look like local ones, and survive a lost connection."""

from __future__ import annotations

import atexit
import hashlib
import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.devices.address import LOCAL, parse_device
from deployprune.backends.devices.files import model_files
from deployprune.backends.devices.link import Link, LinkLost, open_link
from deployprune.backends.devices.wire import FrameError, pack_arrays, unpack_arrays
from deployprune.backends.feeds import check_feeds
from deployprune.errors import BackendUnavailableError, DeviceError, UsageError
from deployprune.records import Availability, DeviceSurvey, Host, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RemoteBackend", "RemoteDevice", "RemoteSession"]

T = TypeVar("T")
_WAIT_S = "120"  # a board that reboots is back by then
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_TRIES = 4
_WARM_UP = 3
_AGAIN = "check the device and its network; what was measured is kept, and a run goes on with --resume"


class RemoteDevice:
    """A device reached over ssh. There is one connection, made when it is first needed and again when it is lost.

    A device that has gone, or that another deployprune measures on, is waited for, by default for two minutes.
    """

    def __init__(self, url: str) -> None:
        """Take the address; raises UsageError for what is none."""
        self.address = parse_device(url)
        self._wait_s = _seconds(url, self.address.options.get("wait", _WAIT_S))
        self._client = uuid.uuid4().hex
        self._turn = threading.RLock()
        self._link: Link | None = None
        self._was_there = False
        atexit.register(_close_if_alive, weakref.ref(self))

    def backend(self, name: str) -> RemoteBackend:
        """The backend ``name``, asked of the device. Raises BackendUnavailableError and DeviceError."""
        found = self.call("backend", {"name": name})
        availability = msgspec.convert(found["availability"], Availability)
        if not availability.available:
            url, hint = self.address.url, availability.hint
            raise BackendUnavailableError(f"the backend {name} is not installed on {url}", hint=f"there: {hint}")
        return RemoteBackend(
            self,
            name=name,
            format=found["format"],
            precisions=tuple(found["precisions"]),
            availability=availability,
        )

    def host(self) -> Host:
        """The device's processor, system and versions. Raises DeviceError."""
        return msgspec.convert(self.call("survey", {})["host"], Host)

    def peak_memory_bytes(self, path: Path, target: Target) -> int:
        """As measured on the device, in a process of its own. Raises ExportError and DeviceError."""
        model = _Model.of(path)
        return int(self.attempt(lambda link: link.call("peak_memory", model.arguments(link, target)))[0])

    def temperature(self) -> float | None:
        """As the device's Linux tells it. Raises DeviceError."""
        found = self.call("temperature", {})
        return None if found is None else float(found)

    def survey(self) -> DeviceSurvey:
        """What the device has to offer; a device that cannot be reached is described by the reason."""
        try:
            return replace(msgspec.convert(self.call("survey", {}), DeviceSurvey), device=self.address.url)
        except DeviceError as error:
            return DeviceSurvey(device=self.address.url, problem=error.message, hint=error.hint)

    def call(self, call: str, arguments: Mapping[str, Any]) -> Any:
        """The result of a call that needs no session. Raises DeviceError and the agent's errors."""
        return self.attempt(lambda link: link.call(call, arguments))[0]

    def attempt(self, work: Callable[[Link], T]) -> T:
        """``work`` with a connection, once more with a new one when it is lost; one at a time.

        Raises DeviceError when the device cannot be reached or is lost again and again.
        """
        with self._turn:
            for left in reversed(range(_TRIES)):
                link = self._connected()
                try:
                    return work(link)
                except (LinkLost, FrameError) as lost:
                    self.close()
                    if not left:
                        raise DeviceError(
                            f"the connection to {self.address.url} was lost {_TRIES} times: {lost}", hint=_AGAIN
                        ) from lost
                except BaseException as error:
                    if not isinstance(error, Exception):  # interrupted between a call and its answer
                        self.close()
                    raise
        raise DeviceError(f"{self.address.url} was not tried")

    def close_session(self, link: Link, number: int) -> None:
        """Close a session where its connection still stands: it went with the connection otherwise."""
        with self._turn:
            if self._link is link:
                try:
                    link.call("close", {"session": number})
                except LinkLost:
                    self.close()

    def close(self) -> None:
        """End the agent; the next call starts another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _connected(self) -> Link:
        """The connection; a device that was there before is waited for."""
        if self._link is not None:
            return self._link
        deadline = time.monotonic() + (self._wait_s if self._was_there else 0.0)
        pauses = list(_PAUSES_S)
        while True:
            try:
                self._link = open_link(self.address, self._client, self._wait_s)
            except LinkLost as lost:
                if time.monotonic() >= deadline:
                    raise DeviceError(f"{self.address.url} cannot be reached: {lost}", hint=_AGAIN) from lost
                time.sleep(pauses[0])
                pauses = pauses[1:] or pauses
            else:
                self._was_there = True
                return self._link


def _seconds(url: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"{url!r}: wait={text} is no number of seconds", hint="for example: ?wait=60")
    return value


def _close_if_alive(device: weakref.ref[RemoteDevice]) -> None:
    if found := device():
        found.close()


class RemoteBackend:
    """A backend on a device: it opens local files there, each sent once."""

    def __init__(
        self,
        device: RemoteDevice,
        *,
        name: str,
        format: str,  # noqa: A002 - the protocol's own word
        precisions: tuple[str, ...],
        availability: Availability,
    ) -> None:
        self._device = device
        self.name = name
        self.format = format
        self.precisions = precisions
        self._availability = availability

    def availability(self) -> Availability:
        """What the device has."""
        return self._availability

    def load(self) -> None:
        """Nothing: the device imports the runtime when it opens a file."""

    def open(self, path: Path, target: Target) -> RemoteSession:
        """Open ``path`` on the device; errors as in :class:`deployprune.backends.base.Backend`, and DeviceError."""
        require_file(path)
        check_target(self, target)
        return RemoteSession(self._device, _Model.of(path), target)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times by the device's runtime."""
        require_file(path)
        check_target(self, target)
        model = _Model.of(path)
        described, blocks = _pack(feeds)

        def work(link: Link) -> Any:
            return link.call("node_times", {**model.arguments(link, target), "feeds": described, "runs": runs}, blocks)

        return tuple(msgspec.convert(node, NodeTime) for node in self._device.attempt(work)[0])


class RemoteSession(Closing):
    """A file that is open on a device. After a lost connection it is opened, bound and warmed up again."""

    def __init__(self, device: RemoteDevice, model: _Model, target: Target) -> None:
        self._device = device
        self._model = model
        self._target = target
        self._bound: dict[str, np.ndarray] | None = None
        self._link: Link | None = None
        self._number = 0
        self._inputs: tuple[InputSpec, ...] = ()
        device.attempt(self._ensure)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs, and DeviceError."""
        check_feeds(self._inputs, feeds)
        described, blocks = _pack(feeds)
        return self._device.attempt(
            lambda link: unpack_arrays(*link.call("run", {"session": self._ensure(link), "feeds": described}, blocks))
        )

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs, and DeviceError."""
        check_feeds(self._inputs, feeds)
        self._bound = {name: array.copy() for name, array in feeds.items()}
        self._device.attempt(lambda link: self._bind(link, self._ensure(link)))

    def time_once(self) -> float:
        """Milliseconds of one inference by the device's clock. Raises UsageError when nothing is bound."""
        return self.time_many(1)[0]

    def time_many(self, count: int) -> list[float]:
        """The same of ``count`` inferences back to back, with nothing sent between them."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")

        def work(link: Link) -> list[float]:
            return [float(ms) for ms in link.call("time", {"session": self._ensure(link), "count": count})[0]]

        return self._device.attempt(work)

    def close(self) -> None:
        """Close the file on the device, if it is there."""
        link, self._link = self._link, None
        if link is not None:
            self._device.close_session(link, self._number)

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


@dataclass(frozen=True, slots=True)
class _Model:
    """A model's files and the hash that the device knows them by."""

    files: tuple[Path, ...]
    digest: str

    @classmethod
    def of(cls, path: Path) -> _Model:
        """``path`` with the file beside it that belongs to it."""
        files = model_files(path)
        whole = hashlib.sha256()
        for file in files:
            whole.update(f"{file.name}\n{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return cls(files, whole.hexdigest())

    def arguments(self, link: Link, target: Target) -> dict[str, Any]:
        """How a call names the model, which is sent if it is not on the device yet."""
        if not link.call("has", {"digest": self.digest})[0]:
            names = [file.name for file in self.files]
            link.call("store", {"digest": self.digest, "names": names}, [file.read_bytes() for file in self.files])
        return {
            "digest": self.digest,
            "name": self.files[0].name,
            "target": asdict(replace(target, device=LOCAL)),
        }


def _pack(feeds: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], list[bytes]]:
    described, blocks = pack_arrays(feeds.values())
    return dict(zip(feeds, described, strict=True)), blocks
