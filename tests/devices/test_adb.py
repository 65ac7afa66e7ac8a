"""Phones: the real ``adb`` client against a stand-in for its server. No phone was ever there."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from adb_server import SERIAL, FakePhone, fake_phone
from click.testing import CliRunner
from fake_benchmark import time_ms, write_benchmark
from small_models import write_conv_net

from deployprune.backends.base import time_many
from deployprune.backends.devices import adb_client
from deployprune.backends.devices.adb import AdbDevice
from deployprune.backends.devices.adb_tools import TOOLS, Call, read_samples
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.cli.main import cli
from deployprune.errors import BackendUnavailableError, DeviceError, UsageError
from deployprune.records import InputSpec, Target


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePhone]:
    (tmp_path / "phone").mkdir()
    with fake_phone(tmp_path / "phone", monkeypatch) as running:
        yield running


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"adb://{SERIAL}?binary={write_benchmark(tmp_path, 'onnxruntime_perf_test')}"


@pytest.fixture
def target(url: str) -> Target:
    return Target(backend="onnxruntime", device=url, threads=2)


def test_time_comes_from_the_phone_and_outputs_from_here(
    phone: FakePhone, url: str, target: Target, onnx_path: Path
) -> None:
    backend = AdbDevice(url).backend("onnxruntime")
    with backend.open(onnx_path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
        with pytest.raises(UsageError, match="bound"):
            session.time_once()
        session.bind(feeds)
        samples = time_many(session, 7)
        assert len(samples) == 7
        assert min(samples) == pytest.approx(time_ms(onnx_path), rel=1e-4)
        with get_backend("onnxruntime").open(onnx_path, Target(backend="onnxruntime")) as here:
            np.testing.assert_array_equal(session.run(feeds)[0], here.run(feeds)[0])
    started = phone.commands[-1]
    assert "-x 2" in started
    assert "-f batch:1" in started
    assert "-r 7" in started
    assert backend.node_times(onnx_path, target, feeds, runs=2)


def test_files_travel_once(phone: FakePhone, url: str, target: Target, tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "a name with 'quotes'.onnx")
    for device in (AdbDevice(url), AdbDevice(url)):
        with device.backend("onnxruntime").open(path, target) as session:
            session.bind(random_feeds(session.inputs, seed=0))
            assert session.time_once() == pytest.approx(time_ms(path), rel=1e-4)
    assert len(phone.pushes) == 2  # the program and the model
    assert not list(phone.folder.rglob("*.part"))


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_every_program_is_started_and_understood(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(bytes(30_000))
    program = write_benchmark(tmp_path, TOOLS[name].program)
    spec = InputSpec(name="image", shape=(1, 3, 32, 64), dtype="float32")
    for runs in (1, 2, 9):
        call = Call(binary=str(program), model=str(model), threads=3, runs=runs, inputs=(spec,), dimensions={})
        done = subprocess.run(TOOLS[name].words(call), capture_output=True, text=True, check=True)
        samples = read_samples(TOOLS[name], done.stdout + done.stderr)
        assert median(samples) == pytest.approx(time_ms(model), rel=5e-3)
        assert len(samples) == (runs if name == "onnxruntime" else 1)


def test_what_programs_print_is_read_as_they_print_it() -> None:
    said = (
        "INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478\r\n"
        "INFO: count=50 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565\r\n"
        "INFO: Inference timings in us: Init: 5579, First inference: 1357602, Warmup (avg): 1.3e+06\r\n"
    )
    assert read_samples(TOOLS["litert"], said) == [1240.27]
    assert read_samples(TOOLS["litert"], said.replace("std=2565", "std=2565 p5=1 median=1239807 p95=9")) == [1239.807]
    assert read_samples(TOOLS["onnxruntime"], "iteration:1,time_cost:0.00125\niteration:2,time_cost:1.5e-05\n") == [
        1.25,
        pytest.approx(0.015),
    ]
    line = "          squeezenet  min =    3.20  max =    4.10  avg =    3.50\n"
    assert read_samples(TOOLS["ncnn"], line) == [3.5]
    for name, text in {"ncnn": line * 2, "litert": "Segmentation fault", "onnxruntime": ""}.items():
        with pytest.raises(DeviceError, match="told no time"):
            read_samples(TOOLS[name], text)


def test_ncnns_shapes_are_given_width_first() -> None:
    spec = InputSpec(name="image", shape=(1, 3, 32, 64), dtype="float32")
    call = Call(binary="b", model="m.param", threads=1, runs=4, inputs=(spec,), dimensions={})
    assert TOOLS["ncnn"].words(call)[-1] == "shape=[64,32,3]"


def test_a_phone_that_reboots_is_waited_for(
    phone: FakePhone, url: str, target: Target, onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adb_client, "_PAUSES_S", (0.05, 0.2, 2.0))
    with AdbDevice(url).backend("onnxruntime").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        phone.fail_next = 2
        assert session.time_once() > 0
        assert phone.fail_next == 0
        phone.state = "offline"
        back = threading.Timer(0.5, setattr, (phone, "state", "device"))
        back.start()
        assert session.time_once() > 0
        back.join()
        phone.state = "offline"
        monkeypatch.setattr(adb_client, "_PAUSES_S", (0.05,))
        with pytest.raises(DeviceError, match="offline"):
            session.time_once()


@pytest.mark.parametrize(("state", "hint"), [("unauthorized", "allow USB debugging"), ("offline", "adb devices")])
def test_a_phone_that_cannot_be_used_is_an_error_at_once(phone: FakePhone, url: str, state: str, hint: str) -> None:
    phone.state = state
    survey = AdbDevice(url).survey()
    assert state in str(survey.problem)
    assert hint in str(survey.hint)


def test_a_program_that_fails_is_an_error(phone: FakePhone, url: str, target: Target, onnx_path: Path) -> None:
    with AdbDevice(url).backend("onnxruntime").open(onnx_path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        for sent in phone.folder.rglob("*.onnx"):
            sent.unlink()
        with pytest.raises(DeviceError, match="FileNotFoundError"):
            session.time_once()


def test_what_is_missing_is_named(phone: FakePhone, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailableError, match="openvino"):
        AdbDevice(url).backend("openvino")
    with pytest.raises(UsageError) as caught:
        AdbDevice(f"adb://{SERIAL}").backend("onnxruntime")
    assert "onnxruntime_perf_test" in str(caught.value.hint)
    with pytest.raises(UsageError, match="/no/such"):
        AdbDevice(f"adb://{SERIAL}?binary=/no/such").backend("onnxruntime")
    with pytest.raises(DeviceError, match="not found"):
        AdbDevice("adb://another").host()
    monkeypatch.setenv("PATH", "")
    assert "apt-get install adb" in str(AdbDevice(url).survey().hint)


def test_a_phone_is_listed(phone: FakePhone, url: str) -> None:
    result = CliRunner().invoke(cli, ["devices", "--json", "--device", url])
    assert result.exit_code == 0, result.stderr
    _, there = json.loads(result.stdout)
    assert there["host"]["cpu"] == "Made-up SoC"
    assert there["host"]["os"].startswith("Android-15-")
    assert there["host"]["cores"] > 0
    assert there["host"]["memory_bytes"] > 2**28
    assert {b["name"]: b["available"] for b in there["backends"]} == {
        "litert": False,
        "ncnn": False,
        "onnxruntime": True,
    }
    assert all(b["hint"].startswith(f"adb://{SERIAL}?binary=") for b in there["backends"] if not b["available"])
