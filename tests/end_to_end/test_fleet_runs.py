"""A run for several devices: measured side by side, told in one line, and stopped as a whole when one is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from toy_project import INPUT

from deployprune.backends import registry
from deployprune.backends.base import Backend, Session
from deployprune.backends.devices.local import LocalDevice
from deployprune.backends.registry import require_backend
from deployprune.config import load_config
from deployprune.errors import DeviceError
from deployprune.files import TEMPORARY_PREFIX
from deployprune.pipeline import compress
from deployprune.progress import SilentObserver
from deployprune.records import Target, Verdict
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, VERIFICATION

BOARD = "ssh://board"


class Traffic:
    """Which thread is at which device, and how often the board may still be asked for something."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads: dict[str, list[int]] = {}
        self.clashes = 0
        self.left = 10**9
        self.meeting: threading.Barrier | None = None
        self.met: set[str] = set()

    def open(self, device: str) -> None:
        with self.lock:
            self.left -= device == BOARD
            if self.left < 0 and device == BOARD:
                raise DeviceError("the connection was lost", hint="plug it in again")
            here = self.threads.setdefault(device, [])
            here.append(threading.get_ident())
            self.clashes += len(set(here)) > 1

    def close(self, device: str) -> None:
        with self.lock:
            self.threads[device].pop()

    def meet(self, device: str) -> None:
        """Wait, when a device is first timed, for the other one to be timed as well."""
        with self.lock:
            meeting, first = self.meeting, device not in self.met
            self.met.add(device)
        if meeting is not None and first:
            meeting.wait()


TRAFFIC = Traffic()


class Watched:
    """A backend of a device, or one of its sessions, that says when it is at work."""

    def __init__(self, device: str, inner: Any) -> None:
        self._device = device
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def open(self, path: Path, target: Target) -> Session:
        TRAFFIC.open(self._device)
        return Watched(self._device, self._inner.open(path, target))

    def time_once(self) -> float:
        TRAFFIC.meet(self._device)
        return self._inner.time_once()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        TRAFFIC.close(self._device)
        self._inner.close()


class StubDevice(LocalDevice):
    """This machine under another name."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._name = url

    def backend(self, name: str) -> Backend:
        return Watched(self._name, require_backend(name))

    def fresh_backend(self, name: str) -> AbstractContextManager[Backend]:
        return nullcontext(self.backend(name))


class Heard(SilentObserver):
    """Remembers messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, fresh_project: Path) -> Iterator[RunDirectory]:
    """A new run for two targets on this machine, and one on a board that is this machine as well."""
    devices = tuple(EntryPoint(name, f"{__name__}:StubDevice", "deployprune.devices") for name in ("local", "ssh"))
    monkeypatch.setattr(registry, "_OUR_DEVICES", devices)
    monkeypatch.chdir(fresh_project)
    registry.device_of.cache_clear()
    TRAFFIC.__init__()
    targets = [
        {"backend": "fake"},
        {"backend": "fake", "threads": 2},
        {"backend": "fake", "device": BOARD, "speedup": "1.3x"},
    ]
    settings = {"target.speedup": "1.45x", "targets": targets, "model.inputs": [INPUT], "model.source": "model.pt"}
    settings |= {"table.variants": 6, "table.rounds": 3, "verification.unstructured": False}
    settings |= {"verification.apart_seconds": 0}
    with RunDirectory.create(Path("runs"), load_config(None, settings, {})) as run:
        yield run
    registry.device_of.cache_clear()


def test_devices_are_measured_side_by_side_and_all_budgets_are_met(fleet: RunDirectory) -> None:
    heard = Heard()
    TRAFFIC.meeting = threading.Barrier(2, timeout=60)
    record = compress(fleet.config, run=fleet, observer=heard)
    assert record.verdict is Verdict.PASS, record.reason
    assert TRAFFIC.clashes == 0, "two jobs on one device"
    assert TRAFFIC.met == {"local", BOARD}
    assert [verified.target.device for verified in record.targets] == ["local", "local", BOARD]
    keys = list(fleet.read(PLAN).target_ratio)
    assert len(fleet.tables()) == len(keys) == len(set(keys)) == 3
    assert keys[2].startswith("fake-t1-f32-b1-board-")
    assert [message.split(":")[0] for message in heard.messages if "latency table" in message]


def test_a_lost_device_is_named_and_the_run_goes_on_when_it_is_back(fleet: RunDirectory) -> None:
    TRAFFIC.left = 4  # enough for the dense model's parity, not for its table
    with pytest.raises(DeviceError, match=rf"^on {BOARD}: the connection was lost$"):
        compress(fleet.config, run=fleet, observer=SilentObserver())
    assert not fleet.has(PLAN)
    TRAFFIC.left = 10**9
    assert compress(fleet.config, run=fleet, observer=SilentObserver()).verdict is Verdict.PASS
    assert fleet.has(VERIFICATION)
    assert not list(fleet.root.rglob(f"{TEMPORARY_PREFIX}*")), "nothing half-written, no variants, no candidates"
