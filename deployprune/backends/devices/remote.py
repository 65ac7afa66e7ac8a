"""A device with an agent, reached over ssh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from deployprune.backends.devices.connection import Connection
from deployprune.backends.devices.remote_session import RemoteBackend
from deployprune.errors import BackendUnavailableError, DeviceError
from deployprune.records import Availability, DeviceSurvey, Host, Target

__all__ = ["RemoteDevice"]


class RemoteDevice:
    """A device that runs the agent. One that has gone, or that another deployprune measures on, is waited for."""

    def __init__(self, url: str) -> None:
        """Take the address; raises UsageError for what is none."""
        self._connection = Connection(url)
        self._url = self._connection.address.url

    def backend(self, name: str) -> RemoteBackend:
        """The backend ``name``, asked of the device. Raises BackendUnavailableError and DeviceError."""
        found = self._connection.call("backend", {"name": name})
        availability = msgspec.convert(found["availability"], Availability)
        if not availability.available:
            hint = f"there: {availability.hint}"
            raise BackendUnavailableError(f"the backend {name} is not installed on {self._url}", hint=hint)
        return RemoteBackend(
            self._connection,
            name=name,
            format=found["format"],
            precisions=tuple(found["precisions"]),
            availability=availability,
        )

    @contextmanager
    def fresh_backend(self, name: str) -> Iterator[RemoteBackend]:
        """The backend ``name`` of an agent that starts now. Raises BackendUnavailableError and DeviceError."""
        self.close()
        yield self.backend(name)

    def host(self) -> Host:
        """The device's processor, system and versions. Raises DeviceError."""
        return msgspec.convert(self._connection.call("survey", {})["host"], Host)

    def peak_memory_bytes(self, path: Path, target: Target) -> int:
        """As measured on the device, in a process of its own. Raises ExportError and DeviceError."""
        model = self._connection.model(path)
        return int(self._connection.attempt(lambda link: link.call("peak_memory", model.arguments(link, target)))[0])

    def temperature(self) -> float | None:
        """As the device's Linux tells it. Raises DeviceError."""
        found = self._connection.call("temperature", {})
        return None if found is None else float(found)

    def survey(self) -> DeviceSurvey:
        """What the device has to offer; a device that cannot be reached is described by the reason."""
        try:
            return replace(msgspec.convert(self._connection.call("survey", {}), DeviceSurvey), device=self._url)
        except DeviceError as error:
            return DeviceSurvey(device=self._url, problem=error.message, hint=error.hint)

    def close(self) -> None:
        """End the agent; the next call starts another."""
        self._connection.close()
