"""Backends and sessions on a device behind a real ssh server do what local ones do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ssh_server import SshServer

from deployprune.backends.base import time_many
from deployprune.backends.devices.remote import RemoteDevice
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import backend_of, device_of
from deployprune.errors import BackendUnavailableError, DeviceError, ExportError, UsageError
from deployprune.host import describe_host
from deployprune.profiling.measure import measure_interleaved
from deployprune.records import Target


@pytest.fixture(params=["onnxruntime", "openvino", "fake"])
def target(request: pytest.FixtureRequest, server: SshServer) -> Target:
    return Target(backend=request.param, device=server.url)


@pytest.fixture
def path(target: Target, onnx_path: Path) -> Path:
    return onnx_path.with_suffix(".xml") if target.backend == "openvino" else onnx_path


def test_outputs_and_node_names_are_the_local_ones(target: Target, path: Path) -> None:
    local, target = replace(target, device="local", batch=3), replace(target, batch=3)
    with backend_of(target).open(path, target) as there, backend_of(local).open(path, local) as here:
        assert there.inputs == here.inputs
        feeds = random_feeds(there.inputs, seed=1)
        np.testing.assert_array_equal(there.run(feeds)[0], here.run(feeds)[0])
    nodes = [backend_of(t).node_times(path, t, feeds, runs=3) for t in (target, local)]
    assert [(n.name, n.kind, n.inputs) for n in nodes[0]] == [(n.name, n.kind, n.inputs) for n in nodes[1]]
    assert sum(node.ms for node in nodes[0]) > 0


def test_time_is_the_devices_own(target: Target, path: Path) -> None:
    with backend_of(target).open(path, target) as session:
        session.bind(random_feeds(session.inputs, seed=1))
        started = time.perf_counter()
        samples = time_many(session, 50)
        passed = (time.perf_counter() - started) * 1e3
        assert len(samples) == 50
        assert min(samples) > 0
        assert target.backend == "fake" or sum(samples) < passed
        measured = measure_interleaved({"one": session, "same": session}, rounds=4, min_round_ms=0.5)
    assert all(len(measurement.samples_ms) == 4 for measurement in measured.values())


def test_refusals_are_the_local_ones(target: Target, path: Path, tmp_path: Path) -> None:
    backend = backend_of(target)
    with backend.open(path, target) as session:
        with pytest.raises(UsageError, match="bound"):
            session.time_once()
        with pytest.raises(UsageError, match="image"):
            session.run({"image": np.zeros((1, 3, 16, 17), np.float32)})
        with pytest.raises(UsageError, match="image"):
            session.bind({})
    with pytest.raises(UsageError, match=r"gone\.onnx"):
        backend.open(tmp_path / "gone.onnx", target)
    with pytest.raises(UsageError):
        backend.open(path, replace(target, precision="int3"))
    broken = tmp_path / f"broken{path.suffix}"
    broken.write_bytes(b"not a model at all")
    with pytest.raises(ExportError, match="broken") as caught:
        backend.open(broken, target)
    assert caught.value.hint


def test_memory_and_host_are_measured_there(server: SshServer, onnx_path: Path) -> None:
    device = device_of(server.url)
    assert device.peak_memory_bytes(onnx_path, Target(backend="onnxruntime", device=server.url)) > 0
    assert device.host() == describe_host()
    assert {a.name for a in device.survey().backends if a.available} >= {"fake", "onnxruntime", "openvino"}


def test_a_runtime_that_is_not_there_is_named(server: SshServer) -> None:
    with pytest.raises(BackendUnavailableError, match="no-such") as caught:
        backend_of(Target(backend="no-such", device=server.url))
    assert "onnxruntime" in str(caught.value.hint)


def test_a_file_travels_once(own_server: SshServer, onnx_path: Path) -> None:
    target, device = Target(backend="onnxruntime", device=own_server.url), RemoteDevice(own_server.url)
    inodes = set()
    for _ in range(2):
        device.backend("onnxruntime").open(onnx_path, target).close()
        device.close()
        (kept,) = (own_server.folder / "cache/deployprune/models").iterdir()
        assert (kept / "net.onnx").read_bytes() == onnx_path.read_bytes()
        inodes.add((kept / "net.onnx").stat().st_ino)
    assert len(inodes) == 1
    assert len(list((own_server.folder / "cache/deployprune").glob("agent-*.zip"))) == 1


def test_a_damaged_agent_is_sent_again(own_server: SshServer) -> None:
    device = RemoteDevice(own_server.url)
    device.survey()
    device.close()
    (package,) = (own_server.folder / "cache/deployprune").glob("agent-*.zip")
    whole = package.read_bytes()
    package.write_bytes(b"another version")
    assert device.survey().problem is None
    device.close()
    assert package.read_bytes() == whole


def test_nothing_stays_when_the_connection_ends(own_server: SshServer, onnx_path: Path) -> None:
    target, device = Target(backend="onnxruntime", device=own_server.url), RemoteDevice(own_server.url)
    session = device.backend("onnxruntime").open(onnx_path, target)
    session.bind(random_feeds(session.inputs, seed=0))
    assert len(own_server.agents()) == 1
    device.close()
    _wait_until(lambda: not own_server.agents())
    session.close()


def test_a_device_is_had_by_one_at_a_time(own_server: SshServer, onnx_path: Path) -> None:
    target = Target(backend="fake", device=own_server.url)
    first, second = (RemoteDevice(f"{own_server.url}&wait=0.5") for _ in range(2))
    session = first.backend("fake").open(onnx_path, target)
    assert second.survey().problem is None  # looking is free
    with pytest.raises(DeviceError, match="in use"):
        second.backend("fake").open(onnx_path, target)
    session.close()
    second.backend("fake").open(onnx_path, target).close()
    first.close()
    second.close()


def test_a_device_gets_by_with_python_numpy_and_the_runtime() -> None:
    """The agent imports nothing heavy by itself, and neither does a session but its own runtime."""
    program = (
        "import sys; import deployprune.backends.devices.serving\n"
        "from deployprune.backends.registry import available_backends; available_backends()\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'msgspec', 'psutil', 'click', 'rich', 'scipy', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _wait_until(met: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)
