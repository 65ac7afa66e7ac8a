"""One connection to a device, made when it is first needed, and again when it is lost."""

from __future__ import annotations

import atexit
import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deployprune.backends.devices.address import parse_device
from deployprune.backends.devices.link import Link, LinkLost, open_link
from deployprune.backends.devices.sent_model import SentModel
from deployprune.backends.devices.wire import FrameError
from deployprune.errors import DeviceError, UsageError

__all__ = ["Connection"]

T = TypeVar("T")
_WAIT_S = "120"  # a board that reboots is back by then
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_TRIES = 4
_AGAIN = "check the device and its network; what was measured is kept, and a run goes on with --resume"


class Connection:
    """The way to a device over ssh.

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

    def call(self, call: str, arguments: Mapping[str, Any]) -> Any:
        """The result of a call that needs no session. Raises DeviceError and the agent's errors."""
        return self.attempt(lambda link: link.call(call, arguments))[0]

    def model(self, path: Path) -> SentModel:
        """The files of the model, which are sent once."""
        return SentModel.of(path)

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


def _close_if_alive(connection: weakref.ref[Connection]) -> None:
    if found := connection():
        found.close()
