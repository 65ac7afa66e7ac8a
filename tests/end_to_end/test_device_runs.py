"""Whole runs whose files are timed on another device: this machine, through a real ssh server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adb_server import SERIAL, fake_phone
from fake_benchmark import write_benchmark
from ssh_server import SshServer, require_openssh
from toy_project import COMPRESS, INPUT, TRAINED, only_run, shipped
from warm_process import WarmProcess

from deployprune.rundir import RunDirectory
from deployprune.steps import VERIFICATION

BRIEF = [*f"compress model.pt --input {INPUT} --speedup 1.3x --epochs 1 --variants 6".split(), *TRAINED]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    require_openssh()
    running = SshServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.stop()


def when(folder: Path, file: str, act: Callable[[], object]) -> threading.Thread:
    """A started thread that acts as soon as the run in ``folder`` has written ``file``."""

    def watch() -> None:
        deadline = time.monotonic() + 240
        while not list(folder.glob(f"runs/*/{file}")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_run_whose_connection_is_cut_gives_the_same_files_as_at_home(
    finished_run: Path, fresh_project: Path, warm: WarmProcess, server: SshServer
) -> None:
    cutter = when(fresh_project, "40-plan.json", server.cut)
    ended = warm.run(*COMPRESS, "--device", server.url, cwd=fresh_project)
    cutter.join()
    assert ended.code == 0, ended.stderr
    assert shipped(only_run(fresh_project)) == shipped(finished_run)
    (result,) = RunDirectory.open(only_run(fresh_project)).read(VERIFICATION).targets
    assert result.target.device == server.url
    deadline = time.monotonic() + 10
    while server.agents():
        assert time.monotonic() < deadline


def test_a_run_whose_device_is_lost_for_good_goes_on_with_resume(
    finished_run: Path, fresh_project: Path, warm: WarmProcess, server: SshServer
) -> None:
    watcher = when(fresh_project, "30-table-*.json", server.stop)
    ended = warm.run(*COMPRESS, "--device", f"{server.url}&wait=1", cwd=fresh_project)
    watcher.join()
    assert ended.code == 3, ended.stderr
    assert "cannot be reached" in ended.stderr
    assert "--resume" in ended.stderr
    run = only_run(fresh_project)
    table = next(run.glob("30-table-*.json")).read_bytes()
    server.start()
    resumed = warm.run("compress", "--resume", str(run), cwd=fresh_project)
    assert resumed.code == 0, resumed.stderr
    assert shipped(run) == shipped(finished_run)
    assert next(run.glob("30-table-*.json")).read_bytes() == table


@pytest.mark.slow
def test_a_real_runtime_on_a_device(fresh_project: Path, warm: WarmProcess, server: SshServer) -> None:
    ended = warm.run(*BRIEF, "--backend", "onnxruntime", "--device", server.url, cwd=fresh_project)
    assert ended.code in (0, 1, 5), ended.stderr  # what a verdict is on a machine with other work
    (result,) = RunDirectory.open(only_run(fresh_project)).read(VERIFICATION).targets
    assert {card.role for card in result.cards} == {"dense", "candidate", "unstructured"}
    assert all(card.accuracy and card.peak_memory_bytes for card in result.cards)


@pytest.mark.slow
def test_a_phone(
    fresh_project: Path,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A phone whose latency is a law of the file's size: the loop meets it, though the nodes' times are of here."""
    folder = tmp_path_factory.mktemp("phone")
    program = write_benchmark(tmp_path_factory.mktemp("programs"), "onnxruntime_perf_test")
    words = [*BRIEF, "--table-rounds", "3", "--backend", "onnxruntime", "--device", f"adb://{SERIAL}?binary={program}"]
    with fake_phone(folder, monkeypatch):
        command = [sys.executable, "-m", "deployprune", *words, "--verification-seconds", "20"]
        env = {**os.environ, **environment, "ANDROID_ADB_SERVER_PORT": os.environ["ANDROID_ADB_SERVER_PORT"]}
        done = subprocess.run(command, cwd=fresh_project, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = RunDirectory.open(only_run(fresh_project)).read(VERIFICATION).targets
    assert all(card.accuracy and card.peak_memory_bytes is None for card in result.cards)
