"""Runs that are killed, interrupted or tampered with, and what ``--resume`` makes of them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy_project import COMPRESS, INPUT, TRAINED, only_run, shipped
from warm_process import WarmProcess

from deployprune.files import TEMPORARY_PREFIX
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, RECOVERY, VERIFICATION

BOUNDARIES = (
    "00-host",
    "10-model",
    "20-analysis",
    "25-dense",
    "30-table-fake-t1-f32-b1",
    "40-plan",
    "50-pruned",
    "60-recovery",
    "65-unstructured",
    "70-export",
    "80-verification",
)
MIDDLES: dict[str, dict[str, Any]] = {
    "20-analysis": {"kill_on_moving": "dense.onnx"},
    "25-dense": {"kill_on_moving": "variant-1.onnx"},
    "30-table-fake-t1-f32-b1": {"kill_on_moving": "candidate0.onnx"},
    "50-pruned": {"kill_in_epoch": 2},
    "65-unstructured": {"kill_on_moving": "model.onnx"},
}
"""Further places to die in the middle of the step that comes after a boundary."""


def test_killed_at_every_boundary_and_in_the_middle_of_steps_the_files_are_the_same(
    finished_run: Path, fresh_project: Path, warm: WarmProcess
) -> None:
    words = COMPRESS
    for boundary in BOUNDARIES:
        ended = warm.run(*words, cwd=fresh_project, kill_after=boundary)
        assert ended.code == -signal.SIGKILL, ended.stderr
        run = only_run(fresh_project)
        assert (run / f"{boundary}.json").is_file()
        words = ["compress", "--resume", str(run)]
        if boundary in MIDDLES:
            ended = warm.run(*words, cwd=fresh_project, **MIDDLES[boundary])
            assert ended.code == -signal.SIGKILL, ended.stderr
            assert sorted(path.stem for path in run.glob("*.json"))[-1] == boundary
            if "kill_on_moving" in MIDDLES[boundary]:
                assert list(run.rglob(f"{TEMPORARY_PREFIX}*")), "what was being written is in the run, to be found"
    resumed = warm.run(*words, cwd=fresh_project)
    assert resumed.code == 0, resumed.stderr
    assert "PASS" in resumed.stdout
    assert shipped(run) == shipped(finished_run)
    assert not [path.name for path in run.rglob(".*")], "a lock, or something half-written"
    assert not list(run.rglob("*.pt")), "checkpoints are gone when their step has ended"


def test_training_changed_the_weights_that_these_tests_compare(finished_run: Path) -> None:
    training = RunDirectory.view(finished_run).read(RECOVERY).training
    assert training is not None
    assert training.best_epoch > 0


def test_a_finished_run_is_only_shown_again(finished_run: Path, project: Path, warm: WarmProcess) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()}
    ended = warm.run("compress", "--resume", str(finished_run), cwd=project)
    assert ended.code == 0, ended.stderr
    assert "PASS" in ended.stdout
    assert "Measuring" not in ended.stderr
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*") if path.is_file()} == before


@pytest.fixture
def copied_run(finished_run: Path, project: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(finished_run, tmp_path / "runs" / finished_run.name))


def test_a_truncated_record_is_named(copied_run: Path, project: Path, warm: WarmProcess) -> None:
    record = copied_run / PLAN.filename
    record.write_bytes(record.read_bytes()[:-100])
    ended = warm.run("compress", "--resume", str(copied_run), cwd=project)
    assert ended.code == 2
    assert ended.stderr.startswith(f"error: {record} is truncated or damaged")
    assert f"delete {record} and resume the run" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("spoilt", ["weights/recovered.safetensors", "export/model.onnx"])
def test_a_file_that_was_changed_is_named(spoilt: str, copied_run: Path, project: Path, warm: WarmProcess) -> None:
    file = copied_run / spoilt
    file.write_bytes(file.read_bytes()[:-1] + b"\0\1")
    ended = warm.run("compress", "--resume", str(copied_run), cwd=project)
    assert ended.code == 2
    assert spoilt in ended.stderr
    assert "Traceback" not in ended.stderr


def test_other_data_than_the_run_began_with_is_refused(
    copied_run: Path, fresh_project: Path, project: Path, warm: WarmProcess
) -> None:
    (fresh_project / "model.pt").write_bytes((project / "model.pt").read_bytes())
    with (fresh_project / "data.npz").open("ab") as file:
        file.write(b"more")
    for step in (PLAN, RECOVERY, VERIFICATION):
        (copied_run / step.filename).unlink()
    config = copied_run / "config.yaml"
    assert "source: model.pt" in config.read_text()
    ended = warm.run("compress", "--resume", str(copied_run), cwd=fresh_project)
    assert ended.code == 2
    assert re.search(r"model\.pt|data\.npz", ended.stderr)


def test_ctrl_c_tells_how_to_go_on_and_going_on_works(
    fresh_project: Path, warm: WarmProcess, environment: dict[str, str]
) -> None:
    words = [sys.executable, "-m", "deployprune", *COMPRESS]
    with subprocess.Popen(
        words, cwd=fresh_project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Measuring the latency table"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert "Traceback" not in rest
    told = re.search(r"go on with: deployprune (compress --resume \S+)", rest)
    assert told is not None, rest
    resumed = warm.run(*told[1].split(), cwd=fresh_project, kill_after="30-table-fake-t1-f32-b1")
    assert resumed.code == -signal.SIGKILL, resumed.stderr
    assert "done: Measuring the latency table" in resumed.stderr
    assert "Finding channel groups" not in resumed.stderr, "it went on where it was interrupted"


@pytest.mark.slow
def test_on_a_real_runtime_resuming_from_the_plan_gives_the_same_files_twice(
    fresh_project: Path, warm: WarmProcess
) -> None:
    words = ["compress", "model.pt", "--input", INPUT, "--speedup", "1.3x", "--backend", "onnxruntime", *TRAINED]
    ended = warm.run(*words, "--epochs", "2", "--variants", "12", cwd=fresh_project, kill_after=PLAN.name)
    assert ended.code == -signal.SIGKILL, ended.stderr
    run = only_run(fresh_project)
    copies = [Path(shutil.copytree(run, fresh_project / "copies" / name)) for name in ("first", "second")]
    for copy in copies:
        resumed = warm.run("compress", "--resume", str(copy), "--verification-seconds", "5", cwd=fresh_project)
        assert resumed.code == 2, "settings of a run cannot be changed"
        resumed = warm.run("compress", "--resume", str(copy), cwd=fresh_project)
        assert resumed.code in (0, 1, 5), resumed.stderr
    assert shipped(copies[0]) == shipped(copies[1])
