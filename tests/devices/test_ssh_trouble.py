"""What goes wrong with devices: the connection, the keys, the other side's Python. Each has its message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ssh_server import SshServer, make_key

from deployprune.backends.devices.connection import Connection
from deployprune.backends.devices.link import Link
from deployprune.backends.devices.remote import RemoteDevice
from deployprune.backends.feeds import random_feeds
from deployprune.errors import BackendUnavailableError, DeviceError
from deployprune.records import Target


@pytest.fixture
def target(own_server: SshServer) -> Target:
    return Target(backend="onnxruntime", device=own_server.url)


def test_a_connection_that_is_cut_is_made_again(own_server: SshServer, target: Target, onnx_path: Path) -> None:
    device = RemoteDevice(own_server.url)
    backend = device.backend("onnxruntime")
    with backend.open(onnx_path, target) as one, backend.open(onnx_path, target) as other:
        feeds = random_feeds(one.inputs, seed=0)
        for session in (one, other):
            session.bind(feeds)
        before = one.run(feeds)[0]
        assert own_server.cut() >= 1
        assert one.time_once() > 0
        assert own_server.cut() >= 1
        np.testing.assert_array_equal(other.run(feeds)[0], before)
        assert len(other.time_many(3)) == 3
        assert backend.node_times(onnx_path, target, feeds, runs=2)
    device.close()


def test_a_cut_in_the_middle_of_a_call_is_survived(own_server: SshServer, target: Target, onnx_path: Path) -> None:
    device = RemoteDevice(own_server.url)
    with device.backend("onnxruntime").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        count = round(1000 / min(session.time_many(20)))  # about a second of inferences
        cut = threading.Timer(0.3, own_server.cut)
        cut.start()
        assert len(session.time_many(count)) == count
        cut.join()
    device.close()


def test_a_device_that_reboots_is_waited_for(own_server: SshServer, target: Target, onnx_path: Path) -> None:
    device = RemoteDevice(f"{own_server.url}&wait=30")
    with device.backend("onnxruntime").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        own_server.stop()
        back = threading.Timer(1.0, own_server.start)
        back.start()
        assert session.time_once() > 0
        back.join()
    device.close()


def test_an_agent_that_hangs_on_after_a_cut_gives_way(own_server: SshServer, target: Target, onnx_path: Path) -> None:
    device = RemoteDevice(own_server.url)
    with device.backend("fake").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        (agent,) = own_server.agents()
        os.kill(agent.pid, signal.SIGSTOP)  # it cannot see that its input has ended, and keeps the device
        own_server.cut()
        assert session.time_once() > 0
        assert agent.pid not in {other.pid for other in own_server.agents()}
    device.close()


TIMING = """
import sys
from pathlib import Path
from deployprune.backends.devices.remote import RemoteDevice
from deployprune.backends.feeds import random_feeds
from deployprune.records import Target
device = RemoteDevice(sys.argv[1])
with device.backend("onnxruntime").open(Path(sys.argv[2]), Target(backend="onnxruntime")) as session:
    session.bind(random_feeds(session.inputs, seed=0))
    print("ready", flush=True)
    while True:
        session.time_many(100)
"""


def test_an_interruption_ends_both_sides(own_server: SshServer, onnx_path: Path) -> None:
    command = [sys.executable, "-c", TIMING, own_server.url, str(onnx_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert own_server.agents()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everything that it started
    said = process.communicate(timeout=30)[1]
    assert process.returncode == -signal.SIGINT
    assert said.strip().endswith("KeyboardInterrupt")
    assert "During handling" not in said
    deadline = time.monotonic() + 10
    while own_server.agents():
        assert time.monotonic() < deadline


def test_a_device_that_stays_away_is_an_error(own_server: SshServer, target: Target, onnx_path: Path) -> None:
    device = RemoteDevice(f"{own_server.url}&wait=1.0")
    with device.backend("onnxruntime").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        own_server.stop()
        with pytest.raises(DeviceError, match="cannot be reached") as caught:
            session.time_once()
    assert "--resume" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_a_call_that_is_cut_again_and_again_is_an_error(own_server: SshServer) -> None:
    """As when a runtime takes the agent down with it, every time."""
    connection = Connection(own_server.url)
    cuts = []

    def work(link: Link) -> None:
        cuts.append(own_server.cut())
        link.call("survey", {})

    with pytest.raises(DeviceError, match="lost 4 times"):
        connection.attempt(work)
    assert cuts == [1] * 4
    assert connection.call("survey", {})["problem"] is None
    connection.close()


def test_a_device_that_was_never_there_is_an_error_at_once(own_server: SshServer) -> None:
    own_server.stop()
    started = time.monotonic()
    with pytest.raises(DeviceError, match="refused"):
        RemoteDevice(own_server.url).backend("onnxruntime")
    assert time.monotonic() - started < 10


def test_an_unknown_host_key_is_refused(own_server: SshServer) -> None:
    (own_server.folder / "known").write_text("")
    survey = RemoteDevice(own_server.url).survey()
    assert "host key" in str(survey.problem)
    assert "ssh-keyscan" in str(survey.hint)
    assert not (own_server.folder / "cache").exists()  # nothing was sent
    assert (own_server.folder / "known").read_text() == ""


def test_a_changed_host_key_is_refused(own_server: SshServer) -> None:
    make_key(own_server.folder / "other")
    line = f"[127.0.0.1]:{own_server.port} {(own_server.folder / 'other.pub').read_text()}"
    (own_server.folder / "known").write_text(line)
    survey = RemoteDevice(own_server.url).survey()
    assert "not the one that is known" in str(survey.problem)
    assert "ssh-keygen -R" in str(survey.hint)


def test_a_key_that_is_not_allowed_is_refused_without_a_question(own_server: SshServer) -> None:
    (own_server.folder / "authorized").write_text("")
    survey = RemoteDevice(own_server.url).survey()
    assert "does not let us in" in str(survey.problem)
    assert "ssh-copy-id" in str(survey.hint)


def test_a_missing_python_is_named(own_server: SshServer) -> None:
    url = own_server.url.replace("python=", "python=/no/such")
    survey = RemoteDevice(url).survey()
    assert "Python" in str(survey.problem)
    assert "?python=" in str(survey.hint)


def wrapped_python(server: SshServer, path: Path, text: str) -> str:
    """The server's address with a Python that is the script ``text``."""
    path.write_text(text)
    path.chmod(0o755)
    return f"{server.url.partition('?')[0]}?python={path}&config={server.folder}/config"


def test_a_python_without_numpy_is_told_what_to_install(own_server: SshServer, tmp_path: Path) -> None:
    url = wrapped_python(own_server, tmp_path / "python", f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    survey = RemoteDevice(url).survey()
    assert "No module named 'numpy'" in str(survey.problem)
    assert "pip install numpy" in str(survey.hint)


def test_a_missing_runtime_is_listed_with_what_running_takes(own_server: SshServer, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for found in Path(np.__file__).parents[1].glob("numpy*"):
        (packages / found.name).symlink_to(found)
    text = f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} -S "$@"\n'
    device = RemoteDevice(wrapped_python(own_server, tmp_path / "python", text))
    survey = device.survey()
    assert survey.problem is None
    listed = {backend.name: (backend.available, backend.hint) for backend in survey.backends}
    assert listed["onnxruntime"] == (False, "pip install onnxruntime onnx")
    assert listed["litert"] == (False, "pip install ai-edge-litert")
    with pytest.raises(BackendUnavailableError, match="litert is not installed on ssh://") as caught:
        device.backend("litert")
    assert "pip install ai-edge-litert" in str(caught.value.hint)
    device.close()


def test_an_old_python_is_named(own_server: SshServer, tmp_path: Path) -> None:
    text = (
        f"#!{sys.executable}\nimport sys\nsys.version_info, sys.version = (3, 9, 2), '3.9.2 (made up)'\n"
        "program = sys.argv[2]\nsys.argv = ['-c', *sys.argv[3:]]\nexec(compile(program, '-c', 'exec'))\n"
    )
    survey = RemoteDevice(wrapped_python(own_server, tmp_path / "python", text)).survey()
    assert "3.9.2" in str(survey.problem)
    assert "3.11" in str(survey.problem)


def test_a_talkative_login_is_no_harm(own_server: SshServer, tmp_path: Path) -> None:
    text = f'#!/bin/sh\necho "Welcome to the board"\necho "last login: never"\nexec {sys.executable} "$@"\n'
    url = wrapped_python(own_server, tmp_path / "python", text)
    device = RemoteDevice(url)
    assert device.survey().problem is None
    device.close()


def test_no_ssh_client_is_an_error_with_the_command(own_server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    survey = RemoteDevice(own_server.url).survey()
    assert "openssh-client" in str(survey.hint)
