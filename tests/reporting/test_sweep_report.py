"""What a sweep's table and picture say."""

from __future__ import annotations

import dataclasses
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import made_up_sweep as made_up
import pytest
from click.testing import CliRunner
from rich.console import Console

from deployprune.cli.main import cli
from deployprune.codec import encode
from deployprune.records import SweepRecord, Verdict
from deployprune.reporting.markdown import render_sweep_markdown
from deployprune.reporting.pictures.files import draw_sweep
from deployprune.reporting.terminal import render_sweep

FORMS = ("terminal", "markdown")


def render(record: SweepRecord, form: str) -> str:
    if form == "markdown":
        return render_sweep_markdown(record).replace("\\", "")
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(render_sweep(record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "expected",
    [
        "resnet20.pt: 3 of 4 speed-ups reached",
        "9x: the target of 0.41 ms is below the floor of 0.52 ms",
        "REFUSED",
        "2.05x [2.03, 2.07]",
        "97.6 %",
        "92.40 %  -0.60 points",
        "275.0 kB  -75.0 %",
        "93.00 %",
    ],
)
def test_the_table_says_what_was_asked_and_what_was_reached(form: str, expected: str) -> None:
    text = render(made_up.record(), form)
    assert expected in text or expected.replace("  ", " ") in text


@pytest.mark.parametrize("form", FORMS)
def test_without_data_importance_stands_in_and_it_is_said(form: str) -> None:
    text = render(made_up.record(measured=False), form)
    assert "accuracy: NOT MEASURED" in text
    assert "importance kept" in text
    assert "82.0 %" in text
    assert "points" not in text


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_done_yet_is_said(form: str) -> None:
    record = made_up.record()
    points = (*record.points[:2], dataclasses.replace(record.points[3], refusal=None))
    text = render(dataclasses.replace(record, points=points), form)
    assert "NOT FINISHED" in text
    assert "not done yet" in text


def test_targets_that_differ_in_more_than_the_backend_are_told_apart() -> None:
    record = made_up.record()
    first = record.points[0]
    one, other = first.targets
    alike = dataclasses.replace(other, target=dataclasses.replace(one.target, threads=2))
    points = (dataclasses.replace(first, targets=(one, alike)),)
    text = render(dataclasses.replace(record, points=points), "markdown")
    assert "onnxruntime · 2 threads" in text


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((Verdict.PASS, Verdict.PASS), Verdict.PASS),
        ((Verdict.PASS, Verdict.INCONCLUSIVE), Verdict.INCONCLUSIVE),
        ((Verdict.INCONCLUSIVE, Verdict.FAIL), Verdict.FAIL),
    ],
)
def test_the_verdict_is_that_of_the_worst_point(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    points = tuple(made_up.point(2.0 + index, 0.5, 0.9, verdict) for index, verdict in enumerate(verdicts))
    assert SweepRecord(model="m", points=points).verdict is expected


def test_a_refused_point_fails_the_sweep() -> None:
    assert made_up.record().verdict is Verdict.FAIL


@pytest.mark.parametrize("measured", [True, False])
def test_the_picture_names_targets_speed_ups_and_what_is_missing(tmp_path: Path, measured: bool) -> None:
    pytest.importorskip("matplotlib")
    path = draw_sweep(made_up.record(measured=measured), tmp_path / "curve.svg")
    words = {text.text for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {"onnxruntime", "openvino", "1.5x", "2x", "3x", "dense", "What speed costs: resnet20.pt"} <= words
    assert any("refused: 9x" in str(word) for word in words)
    assert ("top-1, %" in words, "importance kept, %" in words) == (measured, not measured)
    assert any("NOT MEASURED" in str(word) for word in words) is not measured
    assert any("unstructured" in str(word) for word in words) is measured


def test_the_picture_can_be_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = draw_sweep(made_up.record(), tmp_path / "curve.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_report_shows_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_bytes(encode(made_up.record()))
    page = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert page.exit_code == 0
    assert "3 of 4 speed-ups reached" in page.stdout
    markdown = CliRunner().invoke(cli, ["report", str(tmp_path), "--format", "markdown"])
    assert markdown.stdout.startswith("# FAIL: resnet20.pt")
    assert '"speedup"' in CliRunner().invoke(cli, ["report", str(tmp_path), "--json"]).stdout
