"""Reports say what the records say, whatever subset of a run there is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_up_run as made_up
import pytest
from rich.console import Console, RenderableType

from deployprune.records import SPARSE_ROLE, Ratio, Verdict
from deployprune.reporting.comparison import target_facts
from deployprune.reporting.markdown import render_markdown
from deployprune.reporting.pages import render_analysis, render_devices, render_tables
from deployprune.reporting.terminal import render_terminal, render_verification
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, table_step

FORMATS = ("terminal", "markdown")
STEPS = len(made_up.records())


def text_of(page: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def render(run: RunDirectory, form: str) -> str:
    """The report without Markdown's escapes, so that one assertion fits both formats."""
    return text_of(render_terminal(run)) if form == "terminal" else render_markdown(run).replace("\\", "")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "expected",
    [
        "onnxruntime: 2.05x [2.03, 2.08] as fast as dense, 97.4 % of the budget",
        "openvino · 1 thread · f32 · batch 1",
        "accuracy: 91.20 % → 90.94 % (-0.26 points), top1 of 1000 examples",
        "97.4 % of the budget (1.81 of 1.85 ms)",
        "1.00x [1.00, 1.01]",
        "dense against itself: 1.001 [0.994, 1.008]",
        "dense ran 1.3 % slower than its reference of 3.71 ms",
        "18.3 % of all importance goes, within 0.21 % of the solver's bound, found in 2 measured turns",
        "0.490 ± 3.1 %, 1.82 ms",
        "0.480, 1.41 ms",
        "0.531 [0.523, 0.539]",
        "frozen by aten.topk at net.py:41: no rule for it; keeps fc.weight whole",
        "4 channel groups hold 99.8 % of 272 k parameters",
        "layer3.0.conv1",
        "28 of 64",
        "differ by 4.1e-08 relative in 3 trials (your own module, smaller)",
        "distillation and labels; kept the weights after epoch 4, which had the best metric",
        "1.2e-06 from eager on openvino",
        "Made-up CPU @ 2.00GHz, 2 cores, avx2, avx512f, amx_bf16",
        "onnxruntime 1.31.1, openvino 2026.4.1",
        "deployprune compress resnet20.pt --speedup 2x --data digits --epochs 5",
    ],
)
def test_a_finished_run_tells_everything(finished_run: RunDirectory, form: str, expected: str) -> None:
    assert expected in render(finished_run, form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "figure", ["3.71 ms", "1.81 ms", "3.86 ms", "1.1 MB", "402.1 kB", "18.3 M", "58.1 MB", "98.0 k"]
)
def test_the_table_has_dense_candidate_and_twin(finished_run: RunDirectory, form: str, figure: str) -> None:
    assert figure in render(finished_run, form)


@pytest.mark.parametrize("form", FORMATS)
def test_the_devices_temperature_stands_beside_the_drift(finished_run: RunDirectory, form: str) -> None:
    text = " ".join(render(finished_run, form).split())
    assert text.count("51 °C before these rounds, 64 °C after") == 1


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_verdict_comes_first(tmp_path: Path, verdict: Verdict) -> None:
    run = made_up.make_run(tmp_path, verdict=verdict)
    assert render_markdown(run).startswith(f"# {verdict.value}: resnet20.pt\n")
    first_words = next(line for line in text_of(render_terminal(run)).splitlines() if line.strip("╭╮─│ "))
    assert verdict.value in first_words


@pytest.mark.parametrize("form", FORMATS)
def test_accuracy_that_was_not_measured_is_said_in_the_headline_and_in_the_table(tmp_path: Path, form: str) -> None:
    text = render(made_up.make_run(tmp_path, measured=False), form)
    assert "accuracy: NOT MEASURED" in text
    assert text.count("NOT MEASURED") == 1 + 2 * 3
    assert "points" not in text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("until", range(STEPS))
def test_every_interrupted_run_shows_how_far_it_came(tmp_path: Path, form: str, until: int) -> None:
    run = made_up.make_run(tmp_path, until=until, measured=False)
    text = render(run, form).replace("\n", "")
    assert "NOT FINISHED" in text
    assert "accuracy: NOT MEASURED" in text
    assert "deployprune compress --resume" in text
    assert ("nothing was done yet" in text) == (until <= 1)
    assert ("found in 2 measured turns" in text) == (until >= 7)


@pytest.mark.parametrize("form", FORMATS)
def test_a_profile_is_no_interrupted_run(tmp_path: Path, form: str) -> None:
    text = render(made_up.make_run(tmp_path, until=6, target__speedup=None), form)
    assert "PROFILE" in text
    assert "2 latency tables" in text
    assert "NOT FINISHED" not in text
    assert "deployprune profile resnet20.pt" in text


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("also_here", [True, False])
def test_a_board_is_shown_beside_the_machine_that_the_run_was_made_on(
    tmp_path: Path, form: str, also_here: bool
) -> None:
    run = made_up.make_run(tmp_path)
    board = replace(made_up.HOST, cpu="Cortex-A76", cores=4, isa=("neon",))
    table = made_up.table("onnxruntime")
    remote = replace(table, target=replace(table.target, device="ssh://board"), host=board)
    if not also_here:
        for path in run.table_files():
            path.unlink()
    run.write(table_step("onnxruntime-t1-f32-b1-board"), remote)
    text = render(run, form)
    first, last = text.index("Cortex-A76, 4 cores, neon"), text.rindex("Made-up CPU @ 2.00GHz")
    assert text.index("ssh://board") < first < text.index("this machine") < last
    assert ("this machine, and timed on it too" in text) == also_here


def test_a_plan_that_exceeds_its_budget_is_told(tmp_path: Path) -> None:
    run = made_up.make_run(tmp_path)
    plan = run.read(PLAN)
    run.write(PLAN, replace(plan, target_ratio=dict.fromkeys(plan.target_ratio, 0.48)))
    text = render(run, "markdown")
    assert "NO PLAN was clearly within every budget, and this one takes 101.7 % of that on" in text


def test_markdown_cells_cannot_break_out(tmp_path: Path) -> None:
    text = render_markdown(made_up.make_run(tmp_path, model__source="a|b<script>.pt", until=0))
    assert "a\\|b\\<script\\>.pt" in text


def test_terminal_pages_take_square_brackets_as_text(tmp_path: Path) -> None:
    text = text_of(render_terminal(made_up.make_run(tmp_path, model__source="[red]a[/red].pt", until=0)))
    assert "[red]a[/red].pt" in text


def test_sparse_kernels_get_a_column_where_the_runtime_has_some_and_a_word_where_not() -> None:
    plain = made_up.verified("openvino")
    assert ("sparse kernels", "none in openvino at f32: zeros are multiplied as any number is") in (
        target_facts(plain).notes
    )
    twin = next(comparison for comparison in plain.comparisons if comparison.role == "unstructured")
    faster = replace(twin, role=SPARSE_ROLE, ratio=Ratio(value=0.5, low=0.49, high=0.51))
    sparse = replace(plain, comparisons=(*plain.comparisons, faster), sparse_kernels="those of a runtime")
    facts = target_facts(sparse)
    assert facts.roles[-1] == "unstructured, sparse kernels"
    assert "2.00x" in next(row for row in facts.rows if row[0].startswith("speed-up"))[-1]
    assert ("sparse kernels", "those of a runtime") in facts.notes


def test_a_comparison_of_two_files_needs_no_run() -> None:
    text = text_of(render_verification(made_up.verification(Verdict.FAIL), "small.onnx"))
    assert "FAIL   small.onnx" in text
    assert "2.05x [2.03, 2.08]" in text


def test_an_analysis_lists_groups_and_what_is_frozen() -> None:
    text = text_of(render_analysis(made_up.analysis()))
    assert "layer3.0.conv1" in text
    assert "frozen by aten.topk at net.py:41" in text


def test_an_analysis_says_what_becomes_of_the_users_own_module() -> None:
    grafted = replace(made_up.analysis(), product="grafted", grafted=("layer1.0.attention",))
    assert "1 of its modules as graphs: layer1.0.attention, on a trial plan" in text_of(render_analysis(grafted))
    assert "trial plan" not in text_of(render_analysis(made_up.analysis()))


def test_latency_tables_list_the_slowest_nodes_first() -> None:
    text = text_of(render_tables({"onnxruntime-t1-f32-b1": made_up.table("onnxruntime")}, layers=1))
    assert "/conv1/Conv" in text
    assert "/pool" not in text
    assert "accuracy: NOT MEASURED" in text


def test_devices_tell_what_installs_a_missing_backend() -> None:
    missing = made_up.r.Availability(name="openvino", available=False, hint="pip install openvino")
    board = made_up.r.DeviceSurvey(device="ssh://board", host=made_up.HOST, backends=(missing,), temperature_c=51.4)
    gone = made_up.r.DeviceSurvey(device="ssh://gone", problem="no route to it", hint="switch it on")
    text = text_of(render_devices([board, gone]))
    assert "missing" in text
    assert "pip install openvino" in text
    assert "51 °C" in text
    assert text.index("ssh://gone") < text.index("no route to it") < text.index("switch it on")


@pytest.mark.parametrize("form", FORMATS)
def test_reports_need_neither_torch_nor_a_runtime(finished_run: RunDirectory, form: str, tmp_path: Path) -> None:
    blocked = "import sys\nfor name in ('torch', 'onnxruntime', 'openvino', 'onnx', 'numpy', 'scipy'):\n"
    blocked += "    sys.modules[name] = None\nfrom deployprune.cli.main import main\nmain()"
    target = tmp_path / "report.txt"
    arguments = ["report", str(finished_run.root), "--format", form, "--output", str(target)]
    subprocess.run([sys.executable, "-c", blocked, *arguments], check=True, env=os.environ)
    assert "97.4 % of the budget" in target.read_text()
