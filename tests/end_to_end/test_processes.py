"""One run by two processes, as ``torchrun`` and ``accelerate launch`` start them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from toy_project import COMPRESS, FAST, INPUT, TRAINED, only_run

from deployprune.rundir import RunDirectory
from deployprune.steps import RECOVERY, UNSTRUCTURED, VERIFICATION

pytestmark = pytest.mark.slow

TORCHRUN = ["torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m"]
ACCELERATE = ["accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"]
ACCELERATE += ["--dynamo_backend=no", "--main_process_port=0", "-m"]


def launch(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_train_and_one_writes(
    launcher: list[str], fresh_project: Path, environment: dict[str, str]
) -> None:
    done = launch([*launcher, "deployprune", *COMPRESS, "--json"], fresh_project, environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "PASS"
    run = RunDirectory.view(only_run(fresh_project))
    assert done.stderr.count("Recovering accuracy ...") == 1
    for step in (RECOVERY, UNSTRUCTURED):
        training = run.read(step).training
        assert training is not None
        assert training.epochs == 2
    assert not list(run.root.rglob(".*"))


def test_a_run_is_resumed_by_two_processes(fresh_project: Path, environment: dict[str, str]) -> None:
    alone = launch([sys.executable, "-m", "deployprune", *COMPRESS, "--quiet"], fresh_project, environment)
    assert alone.returncode == 0, alone.stderr
    run = only_run(fresh_project)
    for step in (RECOVERY, VERIFICATION):
        (run / step.filename).unlink()
    done = launch([*TORCHRUN, "deployprune", "compress", "--resume", str(run), "--json"], fresh_project, environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "PASS"


def test_a_sweep_is_trained_by_two_processes(fresh_project: Path, environment: dict[str, str]) -> None:
    words = ["sweep", "model.pt", "--input", INPUT, *FAST, *TRAINED, "--epochs", "1", "--no-unstructured"]
    done = launch([*TORCHRUN, "deployprune", *words, "--speedups", "1.45x,50x", "--json"], fresh_project, environment)
    assert [point["verdict"] for point in json.loads(done.stdout)["points"]] == ["PASS", None], done.stderr
    assert done.stderr.count("Recovering accuracy ...") == 1
    assert done.returncode == 1


def test_an_error_of_the_main_process_ends_all(fresh_project: Path, environment: dict[str, str]) -> None:
    words = [word if word != "model.pt" else "none.pt" for word in COMPRESS]
    done = launch([*TORCHRUN, "deployprune", *words], fresh_project, environment)
    assert done.returncode == 1
    assert done.stderr.count("error: there is no file none.pt") == 1
