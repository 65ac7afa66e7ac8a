"""A phone over adb: its latency by the runtime's own benchmark program, its outputs by the same runtime here.

A phone has no Python to run an agent with. So the program that the user names is sent there and started for each
sample, and what needs outputs (parity, accuracy) or single nodes is asked of the same runtime on this machine.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployprune.backends.base import Backend, Closing, Session, check_target, require_file
from deployprune.backends.devices.adb_client import AdbClient
from deployprune.backends.devices.adb_tools import TOOLS, Call, Tool, read_samples
from deployprune.backends.devices.address import LOCAL, parse_device
from deployprune.backends.devices.files import model_files
from deployprune.backends.registry import require_backend
from deployprune.errors import BackendUnavailableError, DeployPruneError, DeviceError, UsageError
from deployprune.host import hottest, known_isa
from deployprune.records import Availability, DeviceSurvey, Host, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["AdbBackend", "AdbDevice", "AdbSession"]


class AdbDevice:
    """A phone by its serial number, with one benchmark program: ``adb://SERIAL?binary=PATH``."""

    def __init__(self, url: str) -> None:
        """Take the address; raises UsageError for what is none."""
        self._address = parse_device(url)
        self._client = AdbClient(self._address.name)
        self._turn = threading.Lock()

    def backend(self, name: str) -> AdbBackend:
        """The backend ``name``, here for outputs and there for time; its program is sent now.

        Raises BackendUnavailableError for one that has no such program, or is not installed here.
        """
        if name not in TOOLS:
            raise BackendUnavailableError(
                f"the backend {name} cannot be timed over adb", hint=f"these can: {', '.join(TOOLS)}"
            )
        return AdbBackend(self, TOOLS[name], self._binary(TOOLS[name]), require_backend(name))

    def fresh_backend(self, name: str) -> AbstractContextManager[AdbBackend]:
        """The same: the program is a process of its own each time."""
        return nullcontext(self.backend(name))

    def host(self) -> Host:
        """What the phone says of itself."""
        ask = self._client.ask
        info = ask(["cat", "/proc/cpuinfo"]).splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in info)}
        memory = next((line for line in ask(["cat", "/proc/meminfo"]).splitlines() if "MemTotal" in line), "0 0")
        cores = ask(["nproc"])
        return Host(
            cpu=ask(["getprop", "ro.soc.model"]) or fields.get("Hardware") or fields.get("model name") or "unknown",
            isa=known_isa(fields.get("Features") or fields.get("flags") or ""),
            cores=int(cores) if cores.isdigit() else 1,
            memory_bytes=int(memory.split()[1]) * 1024,
            governor=ask(["cat", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"]) or "unknown",
            os=f"Android-{ask(['getprop', 'ro.build.version.release']) or 'unknown'}-{ask(['uname', '-m'])}",
            python="none",
            versions={},
        )

    def peak_memory_bytes(self, path: Path, target: Target) -> None:
        """Nobody tells."""

    def temperature(self) -> float | None:
        """As the phone's Linux tells it. Raises DeviceError."""
        values = self._client.ask(["sh", "-c", "cat /sys/class/thermal/thermal_zone*/temp"]).split()
        return hottest(int(value) for value in values if value.lstrip("-").isdigit())

    def survey(self) -> DeviceSurvey:
        """The phone and the runtimes whose program may be used; a phone out of reach is described by the reason."""
        url = self._address.url
        try:
            host, temperature = self.host(), self.temperature()
        except DeviceError as error:
            return DeviceSurvey(device=url, problem=error.message, hint=error.hint)
        backends = tuple(self._availability(name, tool) for name, tool in TOOLS.items())
        return DeviceSurvey(device=url, host=host, backends=backends, temperature_c=temperature)

    def send_model(self, path: Path) -> str:
        """The model's path on the phone. Raises DeviceError."""
        with self._turn:
            return self._client.send(model_files(path))

    def time(self, tool: Tool, call: Call) -> list[float]:
        """The ms that one start of the program tells. Raises DeviceError."""
        with self._turn:
            return read_samples(tool, self._client.shell(tool.words(call)))

    def _binary(self, tool: Tool) -> str:
        """The program on the phone: a file from here, or one that is there already."""
        given = self._address.options.get("binary")
        if given is None:
            raise UsageError(
                f"{self._address.url} names no benchmark program",
                hint=f"name one that is built for the phone: {self._address.url}?binary=/path/to/{tool.program}",
            )
        if Path(given).is_file():
            return self._client.send([Path(given)], executable=True)
        if not self._client.ask(["ls", given]):
            raise UsageError(
                f"there is no {given}, neither here nor on {self._address.name}",
                hint=f"name the runtime's {tool.program}, built for the phone",
            )
        return given

    def _availability(self, name: str, tool: Tool) -> Availability:
        url, given = self._address.url.partition("?")[0], self._address.options.get("binary", "")
        if tool.program not in Path(given).name:
            return Availability(name=name, available=False, hint=f"{url}?binary=/path/to/{tool.program}")
        try:
            return self.backend(name).availability()
        except DeployPruneError as error:
            return Availability(name=name, available=False, hint=error.hint)


class AdbBackend:
    """A runtime whose files are timed on a phone."""

    def __init__(self, device: AdbDevice, tool: Tool, binary: str, here: Backend) -> None:
        self._device = device
        self._tool = tool
        self._binary = binary
        self._here = here
        self.name = here.name
        self.format = here.format
        self.precisions = ("f32",)

    def availability(self) -> Availability:
        """The program is there; which version it is, it does not tell."""
        return Availability(name=self.name, available=True)

    def load(self) -> None:
        """Import the runtime that computes the outputs here."""
        self._here.load()

    def open(self, path: Path, target: Target) -> AdbSession:
        """Send ``path`` to the phone, and open it here; errors as in ``Backend``, and DeviceError."""
        require_file(path)
        check_target(self, target)
        session = self._here.open(path, replace(target, device=LOCAL))
        call = Call(
            binary=self._binary,
            model=self._device.send_model(path),
            threads=target.threads,
            runs=1,
            inputs=session.inputs,
            dimensions=_dimensions(path, target.batch) if self.format == "onnx" else {},
        )
        return AdbSession(self._device, self._tool, call, session)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times of this machine: how the time is spread; their sum is scaled to the phone's whole."""
        return self._here.node_times(path, replace(target, device=LOCAL), feeds, runs)


class AdbSession(Closing):
    """A file that is timed on a phone and run here."""

    def __init__(self, device: AdbDevice, tool: Tool, call: Call, here: Session) -> None:
        self._device = device
        self._tool = tool
        self._call = call
        self._here = here
        self._bound = False

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._here.inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, computed by the same runtime on this machine. Raises UsageError for wrong inputs."""
        return self._here.run(feeds)

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Check the inputs; the phone's program makes its own. Raises UsageError for wrong inputs."""
        self._here.bind(feeds)
        self._bound = True

    def time_once(self) -> float:
        """Milliseconds of an inference on the phone. Raises UsageError when nothing is bound, and DeviceError."""
        return self.time_many(1)[0]

    def time_many(self, count: int) -> list[float]:
        """What one start of the program tells of ``count`` inferences: all of them, or their middle alone."""
        if not self._bound:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        return self._device.time(self._tool, replace(self._call, runs=count))

    def close(self) -> None:
        """Close the session here; nothing runs on the phone between two samples."""
        self._here.close()


def _dimensions(path: Path, batch: int) -> dict[str, int]:
    from deployprune.backends.onnx_file import free_dimensions, read_inputs

    return dict.fromkeys(sorted(free_dimensions(read_inputs(path))), batch)
