"""``verify``, ``inspect``, ``profile``, ``report`` and gradual pruning, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_project import COMPRESS, FAST, INPUT, TRAINED, only_run
from warm_process import WarmProcess

from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, RECOVERY, table_step


def test_verify_compares_any_two_files(finished_run: Path, project: Path, warm: WarmProcess) -> None:
    files = [str(finished_run / name) for name in ("dense/dense.onnx", "export/model.onnx")]
    ended = warm.run("verify", *files, "--backend", "fake", "--data", "data.npz", "--json", cwd=project)
    assert ended.code == 0, ended.stderr
    (target,) = json.loads(ended.stdout)["targets"]
    assert [card["role"] for card in target["cards"]] == ["dense", "candidate"]
    assert all(card["accuracy"]["metric"] == "top1" for card in target["cards"])
    ratio = next(item["ratio"] for item in target["comparisons"] if item["role"] == "candidate")
    assert 0.95 / 1.45 <= ratio["value"] <= 1 / 1.45


@pytest.mark.parametrize(
    ("order", "budget", "code"), [((0, 1), ["--speedup", "3x"], 1), ((1, 0), [], 1), ((0, 1), ["--speedup", "1.3x"], 0)]
)
def test_verify_judges_by_the_budget(
    order: tuple[int, int], budget: list[str], code: int, finished_run: Path, project: Path, warm: WarmProcess
) -> None:
    files = [str(finished_run / name) for name in ("dense/dense.onnx", "export/model.onnx")]
    ended = warm.run("verify", *(files[index] for index in order), "--backend", "fake", *budget, cwd=project)
    assert ended.code == code, ended.stderr
    assert ("PASS" if code == 0 else "FAIL") in ended.stdout
    assert "NOT MEASURED" in ended.stdout


def test_verify_refuses_what_it_cannot_compare(finished_run: Path, project: Path, warm: WarmProcess) -> None:
    model = str(finished_run / "export/model.onnx")
    for words, told in (
        ([model, "none.onnx"], "there is no file none.onnx"),
        ([model, "none.xml"], "are of different formats"),
        (["a.xml", "b.xml"], "none of the backends fake opens .xml files"),
        ([model, "model.pt"], "names no known format"),
    ):
        ended = warm.run("verify", *words, "--backend", "fake", cwd=project)
        assert ended.code == 2, ended.stderr
        assert told in ended.stderr
        assert "Traceback" not in ended.stderr


def test_inspect_lists_the_groups(project: Path, warm: WarmProcess) -> None:
    ended = warm.run("inspect", "model.pt", "--input", INPUT, "--json", cwd=project)
    assert ended.code == 0, ended.stderr
    analysis = json.loads(ended.stdout)
    assert {group["size"] for group in analysis["groups"]} == {32}
    assert analysis["parameters"] == 32 * 9 + 32 * 3 + 32 * 32 * 9 + 32 * 3 + 4 * 129
    page = warm.run("inspect", "model.pt", "--input", INPUT, "--ignore", "0*", cwd=project)
    assert page.code == 0, page.stderr
    assert "1 channel group" in page.stdout


def test_inspect_draws_the_groups(fresh_project: Path, warm: WarmProcess) -> None:
    words = ["inspect", "model.pt", "--input", INPUT, "--picture", "groups.svg", "--dot", "groups.dot"]
    ended = warm.run(*words, cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    assert "8.weight, 8.bias: the model's outputs stay as they are" in ended.stdout
    assert "Channel groups of model.pt" in (fresh_project / "groups.svg").read_text()
    assert '"conv2d" -> "conv2d_1";' in (fresh_project / "groups.dot").read_text()
    refused = warm.run(*words[:4], "--picture", "groups.gif", cwd=fresh_project)
    assert refused.code == 2
    assert "groups.gif names no picture" in refused.stderr


def test_what_libraries_print_is_not_on_stdout(fresh_project: Path, warm: WarmProcess) -> None:
    (fresh_project / "loud.py").write_text(LOUD)
    words = ["inspect", "weights.pt", "--arch", "loud:make", "--input", INPUT, "--json"]
    ended = warm.run(*words, cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    assert json.loads(ended.stdout)["groups"]
    assert "native noise" in ended.stderr


LOUD = """
import os
from toy_project import network

def make():
    os.write(1, b"native noise\\n")
    return network()
"""


@pytest.mark.slow
def test_profile_measures_a_table_and_keeps_it(fresh_project: Path, warm: WarmProcess) -> None:
    ended = warm.run("profile", "model.pt", "--input", INPUT, *FAST, "--json", cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    tables = json.loads(ended.stdout)
    assert list(tables) == ["fake-t1-f32-b1"]
    assert len(tables["fake-t1-f32-b1"]["runs"]) == 6
    run = only_run(fresh_project)
    assert RunDirectory.view(run).has(table_step("fake-t1-f32-b1"))
    page = warm.run("report", str(run), cwd=fresh_project)
    assert page.code == 0, page.stderr


def test_a_report_can_be_written_to_a_file(finished_run: Path, tmp_path: Path, warm: WarmProcess) -> None:
    ended = warm.run("report", str(finished_run), "--format", "markdown", "--output", "report.md", cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    assert "PASS" in (tmp_path / "report.md").read_text()


@pytest.mark.slow
def test_gradual_pruning_recovers_after_every_round(fresh_project: Path, warm: WarmProcess) -> None:
    words = ["--rounds", "2", "--no-unstructured", "--static", "--batch", "2"]
    ended = warm.run(*COMPRESS, *words, "--json", cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    run = RunDirectory.view(only_run(fresh_project))
    training = run.read(RECOVERY).training
    assert training is not None
    assert training.epochs == 1, "the last round's"
    assert {len(kept) for kept in run.read(PLAN).kept.values()} != {32}


@pytest.mark.slow
def test_both_real_runtimes(fresh_project: Path, warm: WarmProcess) -> None:
    words = ["compress", "model.pt", "--input", INPUT, "--speedup", "1.3x", *TRAINED, "--epochs", "2"]
    ended = warm.run(*words, "--variants", "12", "--verification-seconds", "10", "--json", cwd=fresh_project)
    assert ended.code in (0, 1, 5), ended.stderr
    targets = json.loads(ended.stdout)["targets"]
    assert [target["target"]["backend"] for target in targets] == ["onnxruntime", "openvino"]
    run = only_run(fresh_project)
    assert {path.suffix for path in (run / "export").iterdir()} == {".onnx", ".xml", ".bin"}
    page = warm.run("report", str(run), "--format", "markdown", cwd=fresh_project)
    assert "openvino" in page.stdout
