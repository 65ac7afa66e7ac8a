"""The whole way on the deterministic backend: the verdict, the files, the reports, and the same again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from toy_project import FAST, INPUT
from warm_process import WarmProcess

from deployprune.rundir import RunDirectory
from deployprune.steps import EXPORT, PLAN, PRUNED, RECOVERY, UNSTRUCTURED, VERIFICATION


def test_json_is_all_of_stdout_and_progress_is_on_stderr(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["verdict"] == "PASS"
    assert "Recovering accuracy ..." in finished.stderr
    assert "run directory: runs/model-" in finished.stderr


def test_the_measured_latency_lies_within_the_budget_and_uses_it(finished_run: Path) -> None:
    run = RunDirectory.view(finished_run)
    (verified,) = run.read(VERIFICATION).targets
    candidate = next(item for item in verified.comparisons if item.role == "candidate")
    assert 0.95 <= candidate.ratio.value * 1.45 <= 1.0
    assert 0.95 <= run.read(PLAN).trail[-1].measured["fake-t1-f32-b1"].value * 1.45 <= 1.0
    assert verified.target_ms == pytest.approx(verified.reference_ms / 1.45)


def test_every_file_is_there_proven_and_measured(finished_run: Path) -> None:
    run = RunDirectory.view(finished_run)
    assert run.read(PRUNED).proof.relative_difference <= 1e-5
    for step in (EXPORT, UNSTRUCTURED):
        record = run.read(step)
        export = record if step is EXPORT else record.export
        assert all((finished_run / artifact.path).is_file() for artifact in export.artifacts)
        assert all(parity.ok for parity in export.parity)
    cards = {card.role: card for card in run.read(VERIFICATION).targets[0].cards}
    assert list(cards) == ["dense", "candidate", "unstructured"]
    assert cards["candidate"].parameters < cards["dense"].parameters
    assert cards["unstructured"].nonzero_parameters == cards["candidate"].parameters
    assert cards["candidate"].accuracy.value >= cards["dense"].accuracy.value > 0.5
    assert run.read(RECOVERY).training.epochs == 2
    assert not list(finished_run.rglob(".*")), "a lock, or something half-written"


def test_the_reports_show_the_verdict(finished_run: Path, warm: WarmProcess, tmp_path: Path) -> None:
    for form in ("terminal", "markdown"):
        page = warm.run("report", str(finished_run), "--format", form, cwd=tmp_path)
        assert page.code == 0, page.stderr
        assert "PASS" in page.stdout
        assert "top1" in page.stdout
        assert "NOT MEASURED" not in page.stdout
    assert "| --- |" in page.stdout or "|---" in page.stdout


def test_without_data_everything_but_accuracy_is_measured(fresh_project: Path, warm: WarmProcess) -> None:
    words = ["compress", "model.pt", "--input", INPUT, "--speedup", "1.45x", "--no-unstructured", *FAST]
    ended = warm.run(*words, cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    assert "PASS" in ended.stdout
    assert "accuracy: NOT MEASURED" in ended.stdout
    assert "accuracy: NOT MEASURED" in ended.stderr
    (root,) = (fresh_project / "runs").iterdir()
    page = warm.run("report", str(root), "--format", "markdown", cwd=fresh_project)
    assert "accuracy: NOT MEASURED" in page.stdout.replace("**", "").replace("Accuracy", "accuracy")
    assert json.loads((root / VERIFICATION.filename).read_bytes())["record"]["verdict"] == "PASS"


def test_a_target_that_is_met_already_ships_the_dense_model(fresh_project: Path, warm: WarmProcess) -> None:
    ended = warm.run("compress", "model.pt", "--input", INPUT, "--target-latency", "30ms", *FAST, cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    assert "meets the target already" in ended.stdout.replace("\n", " ")
    (root,) = (fresh_project / "runs").iterdir()
    assert (root / "export/model.onnx").read_bytes() == (root / "dense/dense.onnx").read_bytes()
    page = warm.run("report", str(root), "--format", "markdown", cwd=fresh_project)
    assert page.code == 0, page.stderr
    assert "already" in page.stdout
