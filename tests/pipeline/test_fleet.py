"""Devices work side by side, each on one thing at a time; what fails on one ends all, and is named."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from deployprune.errors import DeviceError, UsageError
from deployprune.pipeline.fleet import on_devices
from deployprune.progress import Task
from deployprune.records import Target

TARGETS = [Target(backend=name, device=device) for device in ("local", "ssh://board") for name in ("fake", "openvino")]


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.fractions: list[float] = []

    def update(self, fraction: float, note: str = "") -> None:
        self.fractions.append(fraction)
        self.notes.append(note)

    def finish(self, summary: str) -> None: ...


def test_devices_work_side_by_side_and_each_on_one_target_at_a_time() -> None:
    meeting = threading.Barrier(2, timeout=5)
    busy: dict[str, threading.Lock] = {target.device: threading.Lock() for target in TARGETS}

    def job(target: Target, task: Task) -> str:
        assert busy[target.device].acquire(blocking=False), f"two jobs on {target.device}"
        meeting.wait()  # only passed when both devices are at work
        task.update(0.5, note="half")
        busy[target.device].release()
        return f"{target.device} {target.backend}"

    told = Told()
    results = on_devices(TARGETS, job, told)
    assert list(results) == TARGETS
    assert list(results.values()) == [f"{t.device} {t.backend}" for t in TARGETS]
    assert max(told.fractions) == pytest.approx(0.75)
    assert any(note == "local 75 %, ssh://board 75 %" for note in told.notes)


def test_on_one_device_the_jobs_run_here_in_their_order_and_say_their_target() -> None:
    told = Told()
    threads = [Target(backend="fake", threads=count) for count in (1, 2)]

    def job(target: Target, task: Task) -> tuple[int, int]:
        task.update(0.5, note="half")
        return target.threads, threading.get_ident()

    here = threading.get_ident()
    assert list(on_devices(threads, job, told).values()) == [(1, here), (2, here)]
    assert told.fractions == [0.0, 0.25, 0.5, 0.75]
    assert told.notes[1] == "fake · 1 thread: half"


def test_an_error_on_one_device_names_it_and_stops_the_others() -> None:
    ended = threading.Event()

    def job(target: Target, task: Task) -> None:
        if target.device != "local":
            raise DeviceError("the connection was lost", hint="look at its cable")
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                task.update(0.1)
                time.sleep(0.01)
        finally:
            if time.monotonic() < deadline:
                ended.set()

    with pytest.raises(DeviceError, match=r"^on ssh://board: the connection was lost$") as caught:
        on_devices(TARGETS, job, Told())
    assert caught.value.hint == "look at its cable"
    assert ended.is_set(), "the other device went on"


def test_an_error_that_names_its_device_is_left_as_it_is() -> None:
    def job(target: Target, task: Task) -> None:
        if target.device == "local":
            raise UsageError("there is no disk on local")

    with pytest.raises(UsageError, match=r"^there is no disk on local$"):
        on_devices(TARGETS, job, Told())


def test_a_mistake_in_a_job_is_no_refusal_and_says_where_it_happened() -> None:
    def job(target: Target, task: Task) -> None:
        if target.device != "local":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        on_devices(TARGETS, job, Told())
    assert caught.value.__notes__ == ["on the device ssh://board"]


def test_an_interrupt_stops_all_devices() -> None:
    ended: list[str] = []
    ready = threading.Barrier(2, timeout=5)

    def job(target: Target, task: Task) -> None:
        ready.wait()
        if target.device == "local":
            time.sleep(0.5)  # by then the main thread has started the others, and waits
            os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        try:
            while time.monotonic() < deadline:
                task.update(0.1)
                time.sleep(0.01)
        finally:
            ended.append(target.device)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        on_devices(TARGETS, job, Told())
    assert sorted(ended) == ["local", "ssh://board"]
    assert time.monotonic() - started < 9
