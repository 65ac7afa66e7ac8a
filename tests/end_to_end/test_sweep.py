"""A sweep over a gentle, a hard and an impossible speed-up: killed, resumed, shown, and its runs used."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from toy_project import FAST, INPUT, TRAINED
from warm_process import Ended, WarmProcess

import deployprune
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, PRUNED, table_step

SWEEP = ["sweep", "model.pt", "--input", INPUT, *FAST, "--no-unstructured"]
TABLE = table_step("fake-t1-f32-b1")


@pytest.fixture(scope="module")
def swept(project: Path, warm: WarmProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """The folder of a sweep that was killed in its first run, and what its resumption said."""
    runs = tmp_path_factory.mktemp("runs")
    words = [*SWEEP, *TRAINED, "--speedups", "50x,1.45x,1.2x", "--epochs", "1", "--output", str(runs)]
    killed = warm.run(*words, cwd=project, kill_after=PLAN.name)
    assert killed.code == -signal.SIGKILL, killed.stderr
    (root,) = runs.iterdir()
    assert not (root / "1.2x" / PRUNED.filename).exists()
    return root, warm.run("sweep", "--resume", str(root), cwd=project)


def test_every_speed_up_is_a_run_and_the_record_says_what_it_reached(swept: tuple[Path, Ended]) -> None:
    root, ended = swept
    assert ended.code == 1, ended.stderr
    assert "2 of 3 speed-ups reached" in ended.stdout
    assert "REFUSED" in ended.stdout
    points = json.loads((root / "sweep.json").read_bytes())["record"]["points"]
    assert [point["speedup"] for point in points] == [1.2, 1.45, 50.0]
    assert [point["verdict"] for point in points] == ["PASS", "PASS", None]
    assert "below the floor" in points[2]["refusal"]
    (target,) = points[1]["targets"]
    candidate = next(side for side in target["sides"] if side["role"] == "candidate")
    assert 0.95 <= candidate["ratio"]["value"] * 1.45 <= 1.0
    assert candidate["accuracy"]["metric"] == "top1"


def test_the_table_is_measured_once(swept: tuple[Path, Ended]) -> None:
    root, ended = swept
    runs = [RunDirectory.view(root / name) for name in ("1.2x", "1.45x", "50x")]
    assert runs[0].read(TABLE) == runs[1].read(TABLE) == runs[2].read(TABLE)
    assert ended.stderr.count("from a file, 6 variants") == 2
    assert ended.stderr.count("Measuring the latency table") == 4, "begun and done, in the last two runs"


def test_its_runs_are_runs(
    swept: tuple[Path, Ended], project: Path, warm: WarmProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = swept[0] / "1.45x"
    assert "PASS" in warm.run("report", str(run), cwd=project).stdout
    assert warm.run("compress", "--resume", str(run), cwd=project).code == 0
    monkeypatch.chdir(project)
    pruned, dense = deployprune.load_pruned(run), deployprune.load_model("model.pt")
    assert sum(map(len, pruned.parameters())) < sum(map(len, dense.parameters()))


def test_a_finished_sweep_is_only_shown_again(swept: tuple[Path, Ended], project: Path, warm: WarmProcess) -> None:
    root, before = swept
    again = warm.run("sweep", "--resume", str(root), "--picture", "curve.svg", cwd=project)
    assert (again.code, again.stdout) == (before.code, before.stdout)
    assert "Measuring" not in again.stderr
    assert "refused: 50x" in (project / "curve.svg").read_text()
    assert "2 of 3 speed-ups" in warm.run("report", str(root), cwd=project).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([*SWEEP, "--speedups", "0.5x"], "speed-up '0.5x' is not a factor above 1"),
        ([*SWEEP, "--target-latency", "3ms"], "No such option '--target-latency'"),
        ([*SWEEP, "--picture", "curve.jpg"], "curve.jpg names no picture that can be drawn"),
        (["sweep", "--resume", "."], "is not the folder of a sweep"),
        (["sweep", "--resume", ".", "--speedups", "2x"], "--speedups cannot be changed"),
        (["sweep", "none.pt", *SWEEP[2:]], "there is no file none.pt"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_nothing(
    words: list[str], told: str, fresh_project: Path, warm: WarmProcess
) -> None:
    ended = warm.run(*words, cwd=fresh_project)
    assert ended.code == 2, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(fresh_project.glob("runs/*"))
