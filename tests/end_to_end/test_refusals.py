"""What cannot be done ends with its exit code and one message: what, where, and what to do next. Nothing is left."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy_project import FAST, INPUT, bright_quarters
from warm_process import Ended, WarmProcess


class RunsCode:
    """A pickle that leaves a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def compress(warm: WarmProcess, folder: Path, *words: str, shape: str | None = INPUT, **request: Any) -> Ended:
    given = [] if shape is None else ["--input", shape]
    budget = [] if any(word.startswith("--target-latency") for word in words) else ["--speedup", "1.45x"]
    return warm.run("compress", *words, *given, *budget, *FAST, cwd=folder, **request)


def refused(ended: Ended, code: int, *told: str) -> None:
    """The command ended with ``code`` and one error, which holds all of ``told``, and a hint."""
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.splitlines()
    start = [index for index, line in enumerate(lines) if line.startswith(("error: ", "Usage: "))]
    assert len(start) == 1, ended.stderr
    message = "\n".join(lines[start[0] :])
    assert [text for text in told if text not in message] == [], message
    assert len(message) < 600


def nothing_is_left(folder: Path) -> None:
    assert [path.name for path in folder.rglob("*") if "runs" in path.parts and path.parts[-1] != "runs"] == []


def test_a_missing_file(fresh_project: Path, warm: WarmProcess) -> None:
    refused(compress(warm, fresh_project, "none.pt"), 2, "there is no file none.pt", "check the path")
    nothing_is_left(fresh_project)


def test_not_a_model(fresh_project: Path, warm: WarmProcess) -> None:
    (fresh_project / "notes.pt").write_text("buy milk")
    refused(compress(warm, fresh_project, "notes.pt"), 2, "notes.pt")
    torch.save({"epoch": 3}, fresh_project / "state.pt")
    refused(compress(warm, fresh_project, "state.pt"), 2, "state.pt")
    nothing_is_left(fresh_project)


def test_a_state_dict_without_its_architecture(fresh_project: Path, warm: WarmProcess) -> None:
    refused(compress(warm, fresh_project, "weights.pt"), 2, "weights.pt holds weights only", "--arch")
    nothing_is_left(fresh_project)
    ended = warm.run("inspect", "weights.pt", "--arch", "nets:network", "--input", INPUT, cwd=fresh_project)
    assert ended.code == 0, ended.stderr


def test_a_pickle_that_would_run_code_is_not_run(fresh_project: Path, warm: WarmProcess) -> None:
    mark = fresh_project / "it-ran"
    torch.save(RunsCode(mark), fresh_project / "evil.pt")
    for protocol in (2, 4):
        (fresh_project / f"plain{protocol}.pt").write_bytes(pickle.dumps(RunsCode(mark), protocol=protocol))
    for name in ("evil.pt", "plain2.pt", "plain4.pt"):
        refused(compress(warm, fresh_project, name), 2, f"{name} could run code", "--trust-pickle")
        assert not mark.exists()
    nothing_is_left(fresh_project)


def test_a_wrong_input_shape(fresh_project: Path, warm: WarmProcess) -> None:
    refused(compress(warm, fresh_project, "model.pt", shape="1x3x16x16"), 3, "(1, 3, 16, 16)", "--input")
    refused(compress(warm, fresh_project, "model.pt", shape="one by one"), 2, "one by one", "1x3x224x224")
    refused(compress(warm, fresh_project, "model.pt", shape=None), 2, "input shape is not known", "--input")
    nothing_is_left(fresh_project)


def test_a_model_whose_forward_fails(fresh_project: Path, warm: WarmProcess) -> None:
    torch.save({"x.weight": torch.ones(2)}, fresh_project / "weights.pt")
    (fresh_project / "broken.py").write_text(BROKEN)
    refused(compress(warm, fresh_project, "weights.pt", "--arch", "broken:Fails"), 3, "forward fails", "shape '[1, 7]'")
    nothing_is_left(fresh_project)


BROKEN = """
from torch import nn

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.LayerNorm(2, bias=False)

    def forward(self, x):
        return x.reshape(x.shape[0], 7)
"""


def test_a_backend_that_there_is_not(fresh_project: Path, warm: WarmProcess) -> None:
    ended = warm.run(
        "compress", "model.pt", "--input", INPUT, "--speedup", "2x", "--backend", "abacus", cwd=fresh_project
    )
    known = "executorch, fake, litert, mnn, ncnn, onnxruntime, openvino"
    refused(ended, 3, "no backend called 'abacus'", f"known backends: {known}")
    nothing_is_left(fresh_project)


def test_a_backend_that_is_not_installed(fresh_project: Path, command: Any, environment: dict[str, str]) -> None:
    """Another package announces a backend whose runtime is missing."""
    plugin = fresh_project / "plugin"
    (plugin / "abacus-1.0.dist-info").mkdir(parents=True)
    (plugin / "abacus-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: abacus\nVersion: 1.0\n")
    (plugin / "abacus-1.0.dist-info" / "entry_points.txt").write_text(
        "[deployprune.backends]\nabacus = abacus_backend:Backend\n"
    )
    (plugin / "abacus_backend.py").write_text(
        "from deployprune.backends.fake import FakeBackend\n"
        "from deployprune.backends.installed import installed\n"
        "class Backend(FakeBackend):\n"
        "    name = 'abacus'\n"
        "    def availability(self):\n"
        "        return installed('abacus', 'no-such-runtime', 'pip install no-such-runtime')\n"
    )
    environment = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{plugin}"}
    words = ["compress", "model.pt", "--input", INPUT, "--speedup", "2x", "--backend", "abacus"]
    done = subprocess.run(
        [sys.executable, "-m", "deployprune", *words],
        cwd=fresh_project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    refused(
        Ended(done.returncode, done.stdout, done.stderr), 3, "abacus is not installed", "pip install no-such-runtime"
    )
    nothing_is_left(fresh_project)


def test_a_target_below_what_can_be_reached_names_the_floor(fresh_project: Path, warm: WarmProcess) -> None:
    refused(compress(warm, fresh_project, "model.pt", "--target-latency", "0.01ms"), 3, "floor of 0.0", "ask for")


def test_an_unknown_key_of_the_configuration(fresh_project: Path, warm: WarmProcess) -> None:
    (fresh_project / "deployprune.yaml").write_text("target: {latancy: 3ms}")
    refused(compress(warm, fresh_project, "model.pt"), 2, "deployprune.yaml: $.target.latancy", "`latency`")
    nothing_is_left(fresh_project)


def test_two_budgets(fresh_project: Path, warm: WarmProcess) -> None:
    ended = compress(warm, fresh_project, "model.pt", "--target-latency", "3ms", "--speedup", "2x")
    refused(ended, 2, "both latency and speedup")
    nothing_is_left(fresh_project)


def test_data_that_does_not_fit(fresh_project: Path, warm: WarmProcess) -> None:
    x, y = bright_quarters(16)
    np.savez(fresh_project / "small.npz", x=x[..., :8], y=y)
    refused(compress(warm, fresh_project, "model.pt", "--data", "small.npz"), 2, "small.npz are 1x16x8", "1x16x16")
    refused(compress(warm, fresh_project, "model.pt", "--data", "nowhere"), 2, "'nowhere' names no data")
    nothing_is_left(fresh_project)


def test_a_criterion_that_there_is_not_or_that_needs_data_is_refused_before_anything_is_measured(
    fresh_project: Path, warm: WarmProcess
) -> None:
    refused(compress(warm, fresh_project, "model.pt", "--criterion", "l3"), 2, "no importance criterion 'l3'", "l1, l2")
    refused(compress(warm, fresh_project, "model.pt", "--criterion", "taylor"), 2, "taylor criterion needs data", "l2")
    nothing_is_left(fresh_project)


def test_more_threads_than_cores(fresh_project: Path, warm: WarmProcess) -> None:
    refused(compress(warm, fresh_project, "model.pt", "--threads", "10000"), 2, "10000 threads are asked for", "cores")
    nothing_is_left(fresh_project)


def test_a_pattern_of_what_to_leave_alone_that_matches_nothing(fresh_project: Path, warm: WarmProcess) -> None:
    ended = compress(warm, fresh_project, "weights.pt", "--arch", "nets:network", "--ignore", "haed")
    refused(ended, 2, "$.pruning.ignore: 'haed': the pattern matches no channel group or module")
    nothing_is_left(fresh_project)
    ended = warm.run("inspect", "model.pt", "--input", INPUT, "--ignore", "8", cwd=fresh_project)
    assert ended.code == 0, "a module that is in no group may be named all the same"


def test_a_latency_table_that_cannot_be_read_is_refused_before_anything_is_made(
    fresh_project: Path, warm: WarmProcess
) -> None:
    refused(compress(warm, fresh_project, "model.pt", "--profile", "none.json"), 2, "cannot read the table none.json")
    (fresh_project / "cut.json").write_text('{"schema": ')
    refused(compress(warm, fresh_project, "model.pt", "--profile", "cut.json"), 2, "cut.json is truncated", "30-table")
    nothing_is_left(fresh_project)


def test_fewer_epochs_than_rounds(fresh_project: Path, warm: WarmProcess) -> None:
    ended = compress(warm, fresh_project, "model.pt", "--data", "data.npz", "--rounds", "3", "--epochs", "2")
    refused(ended, 2, "2 epochs of recovery cannot be spread over 3 pruning rounds")
    nothing_is_left(fresh_project)


def test_a_full_disk_leaves_nothing_half_written_and_the_run_goes_on_later(
    fresh_project: Path, warm: WarmProcess
) -> None:
    ended = compress(warm, fresh_project, "model.pt", "--no-unstructured", largest_file=30_000)
    refused(ended, 4, "cannot write", "dense.onnx: File too large", "free disk space")
    (run,) = (fresh_project / "runs").iterdir()
    assert [path.name for path in run.rglob(".*")] == []
    assert list((run / "dense").iterdir()) == []
    resumed = warm.run("compress", "--resume", str(run), cwd=fresh_project, kill_after="25-dense")
    assert resumed.code == -signal.SIGKILL, resumed.stderr
    assert (run / "dense/dense.onnx").stat().st_size > 30_000


@pytest.mark.slow
def test_a_disk_that_is_really_full(fresh_project: Path, command: Any) -> None:
    """A file system of 64 KiB, where this machine lets us have one."""
    disk = fresh_project / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("no right to mount a file system")
    try:
        words = ["compress", "model.pt", "--input", INPUT, "--speedup", "1.45x", "--output", "disk", *FAST]
        done = command(*words, cwd=fresh_project)
        refused(Ended(done.returncode, done.stdout, done.stderr), 4, "No space left on device", "free disk space")
        assert [path.name for path in disk.rglob("*") if path.name.startswith(".")] == []
    finally:
        subprocess.run(["umount", disk], check=True)
