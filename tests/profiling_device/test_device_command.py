"""``deployprune profile`` without a model, from the command line to files and pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import made_up_run
import pytest
from click.testing import CliRunner, Result
from made_up_tables import DETAILED, scaled, short_suite

from deployprune.cli.main import cli
from deployprune.device.files import write_table
from deployprune.device.records import DeviceTable


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["profile", *arguments])


def test_profile_without_a_model_writes_a_table_and_says_what_the_device_is_like(folder: Path) -> None:
    with short_suite():
        result = invoke("--backend", "fake", "--budget-seconds", "600")
    assert result.exit_code == 0, result.stderr
    (path,) = (folder / "profiles").rglob("*.json")
    assert f"table: {path.relative_to(folder)}" in result.stderr
    for words in ("channel step 8", "GMAC/s", "3x3 depthwise at 28", "Threads", "noise"):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert not (folder / "runs").exists()


def test_too_short_a_measurement_does_not_claim_a_step(folder: Path) -> None:
    with short_suite(DETAILED[:1]):
        result = invoke("--backend", "fake", "--budget-seconds", "0.01")
    assert "too few widths" in result.stdout
    assert "longer --budget-seconds" in result.stdout


def test_the_output_folder_and_json(folder: Path) -> None:
    result = invoke("--backend", "fake", "--budget-seconds", "0.01", "--output", "tables", "--threads", "2", "--json")
    (path,) = (folder / "tables").rglob("*-t2.json")
    printed = json.loads(result.stdout)
    assert list(printed) == [str(path.relative_to(folder))]
    assert printed[str(path.relative_to(folder))]["target"]["threads"] == 2


def test_check_ends_with_the_verdicts_code(table: DeviceTable, folder: Path) -> None:
    write_table(folder / "true.json", table)
    write_table(folder / "old.json", scaled(table, 1.5))
    assert invoke("--check", "true.json").exit_code == 0
    failed = invoke("--check", "old.json")
    assert failed.exit_code == 1
    assert "layers take 0.67x" in failed.stdout
    (folder / "bad.json").write_text("{")
    assert invoke("--check", "bad.json").exit_code == 2


def test_merge_writes_one_table(table: DeviceTable, folder: Path) -> None:
    write_table(folder / "a.json", table)
    assert invoke("--merge", "a.json", "a.json", "-o", "c.json").exit_code == 0
    assert (folder / "c.json").is_file()
    refused = invoke("--merge", "a.json", "a.json")
    assert refused.exit_code == 2
    assert "--output" in refused.stderr


def test_pictures_are_drawn_as_readable_svg(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    with short_suite():
        result = invoke("--backend", "fake", "--budget-seconds", "600", "--pictures", "pictures")
    assert result.exit_code == 0, result.stderr
    names = sorted(file.name for file in (folder / "pictures").iterdir())
    assert names == ["staircases-fake-f32-t1.svg", "throughput-fake-f32-t1.svg"]
    for file in (folder / "pictures").iterdir():
        text = " ".join(ElementTree.parse(file).getroot().itertext())
        assert "3x3 depthwise" in text


def test_the_layer_chart_names_the_slowest_nodes(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    from deployprune.reporting.pictures.files import draw_model

    (file,) = draw_model({"onnxruntime-t1-f32-b1": made_up_run.table("onnxruntime")}, folder)
    assert file.name == "layers-onnxruntime-t1-f32-b1.svg"
    assert "/conv1/Conv" in " ".join(ElementTree.parse(file).getroot().itertext())
    before = file.read_bytes()
    list(draw_model({"onnxruntime-t1-f32-b1": made_up_run.table("onnxruntime")}, folder))
    assert file.read_bytes() == before


def test_pictures_without_matplotlib_are_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployprune.reporting.pictures.files.find_spec", lambda name: None)
    result = invoke("--backend", "fake", "--pictures", "pictures")
    assert result.exit_code == 2
    assert "pip install 'deployprune[pictures]'" in result.stderr


def test_profiling_a_device_needs_no_torch(folder: Path) -> None:
    program = """
import sys
sys.modules["torch"] = None  # what imports it fails
sys.argv = ["deployprune", "profile", "--backend", "fake", "--budget-seconds", "0.01", "--quiet", "--json"]
from deployprune.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
