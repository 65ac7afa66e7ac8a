"""The commands over a pipeline whose figures are made up: what they hand it, print, and end with."""

from __future__ import annotations

import errno
import json
import sys
import types
from pathlib import Path
from typing import Any, NoReturn

import made_up_run as made_up
import pytest
from click.testing import CliRunner, Result

from deployprune.cli.main import cli
from deployprune.config import Config
from deployprune.errors import ExportError, UnsupportedModelError
from deployprune.progress import Observer
from deployprune.records import Verdict
from deployprune.rundir import RunDirectory

BUDGET = ["compress", "model.pt", "--speedup", "2x"]


class MadeUpPipeline(types.SimpleNamespace):
    """Stands where the pipeline does, remembers the configuration, and answers with made-up records."""

    def __init__(self) -> None:
        super().__init__(
            verdict=Verdict.PASS,
            raises=None,
            config=None,
            compress=self.run_compress,
            profile_model=self.run_profile,
            verify_files=self.run_verify,
            inspect_model=self.run_inspect,
        )

    def run_compress(self, config: Config, *, run: RunDirectory, observer: Observer) -> Any:
        self.config = config
        with observer.step("Measuring") as task:
            task.update(0.5, "half of it")
            if self.raises is not None:
                raise self.raises
            task.finish("24 variants")
        observer.warning("a warning")
        made_up.write_records(run, made_up.records(self.verdict))
        return made_up.verification(self.verdict)

    def run_profile(self, config: Config, *, run: RunDirectory, observer: Observer) -> Any:
        self.config = config
        return {"onnxruntime-t1-f32-b1": made_up.table("onnxruntime")}

    def run_verify(self, config: Config, baseline: Path, candidate: Path, *, observer: Observer) -> Any:
        self.config = config
        return made_up.verification(self.verdict)

    def run_inspect(self, config: Config, observer: Observer) -> Any:
        self.config = config
        return made_up.analysis()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> MadeUpPipeline:
    made = MadeUpPipeline()
    monkeypatch.setitem(sys.modules, "deployprune.pipeline", made)
    return made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.PASS, 0), (Verdict.FAIL, 1), (Verdict.INCONCLUSIVE, 5)])
def test_the_verdict_is_the_exit_code(pipeline: MadeUpPipeline, verdict: Verdict, code: int) -> None:
    pipeline.verdict = verdict
    result = invoke(*BUDGET)
    assert result.exit_code == code
    assert verdict.value in result.stdout
    assert invoke("verify", "a.onnx", "b.onnx").exit_code == code


def test_progress_goes_to_stderr_in_plain_lines(pipeline: MadeUpPipeline) -> None:
    result = invoke(*BUDGET)
    assert "run directory: runs/model-" in result.stderr
    assert "Measuring ..." in result.stderr
    assert "done: Measuring  24 variants" in result.stderr
    assert "warning: a warning" in result.stderr
    assert "Measuring" not in result.stdout


def test_quiet_shows_no_progress(pipeline: MadeUpPipeline) -> None:
    result = invoke(*BUDGET, "--quiet")
    assert result.stderr == ""
    assert "PASS" in result.stdout


def test_json_is_the_record_and_nothing_else(pipeline: MadeUpPipeline) -> None:
    assert json.loads(invoke(*BUDGET, "--json").stdout)["verdict"] == "PASS"
    assert json.loads(invoke("verify", "a.onnx", "b.onnx", "--json").stdout)["verdict"] == "PASS"
    assert json.loads(invoke("inspect", "model.pt", "--json").stdout)["groups"][0]["name"] == "conv1"
    tables = json.loads(invoke("profile", "model.pt", "--json").stdout)
    assert tables["onnxruntime-t1-f32-b1"]["channel_step"] == 8


def test_every_option_reaches_the_configuration(pipeline: MadeUpPipeline, folder: Path) -> None:
    (folder / "other.yaml").write_text("seed: 3\nrecovery: {epochs: 9}")
    options = (
        "--config other.yaml --input 1x3x8x8 --input ids:1x4:int64 --arch nets:make --arch-arg depth=20 --arch-arg k=a"
    )
    options += " --backend fake --threads 2 --mean 0.5 --mean 0.25 --no-unstructured --static --epochs 1 --trust-pickle"
    assert invoke(*BUDGET, *options.split()).exit_code == 0
    config = pipeline.config
    assert config.model.inputs == ["1x3x8x8", "ids:1x4:int64"]
    assert (config.model.arch, config.model.arch_kwargs) == ("nets:make", {"depth": 20, "k": "a"})
    assert (config.target.backends, config.target.threads, config.target.speedup_factor) == (["fake"], 2, 2.0)
    assert config.data.mean == [0.5, 0.25]
    assert (config.verification.unstructured, config.export.static) == (False, True)
    assert (config.recovery.epochs, config.seed) == (1, 3)
    assert config.model.trust_pickle


def test_the_effective_configuration_is_kept_and_resumed(pipeline: MadeUpPipeline, folder: Path) -> None:
    pipeline.raises = KeyboardInterrupt()
    result = invoke(*BUDGET, "--epochs", "7", "--trust-pickle")
    (run,) = (folder / "runs").iterdir()
    assert result.exit_code == 130
    assert f"go on with: deployprune compress --resume runs/{run.name}" in result.stderr
    assert "failed: Measuring" in result.stderr
    pipeline.raises = None
    assert invoke("compress", "--resume", str(run)).exit_code == 0
    assert (pipeline.config.recovery.epochs, pipeline.config.model.trust_pickle) == (7, False)
    assert invoke("compress", "--resume", str(run), "--trust-pickle").exit_code == 0
    assert pipeline.config.model.trust_pickle


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            UnsupportedModelError("the floor is 4 ms", hint="ask for more"),
            3,
            "error: the floor is 4 ms\n  ask for more",
        ),
        (ExportError("no file"), 4, "error: no file"),
        (OSError(errno.ENOSPC, "No space left on device", "x.bin"), 2, "error: No space left on device (x.bin)"),
        (
            ValueError("oops"),
            70,
            "internal error: ValueError: oops\n  this is a bug in deployprune; run again with --debug",
        ),
    ],
)
def test_errors_end_with_their_code_and_one_message(
    pipeline: MadeUpPipeline, error: Exception, code: int, message: str
) -> None:
    pipeline.raises = error
    result = invoke(*BUDGET)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in invoke(*BUDGET, "--debug").stderr


def test_a_run_directory_that_cannot_be_made_is_told(pipeline: MadeUpPipeline, folder: Path) -> None:
    (folder / "runs").write_text("a file")
    result = invoke(*BUDGET)
    assert result.exit_code == 2
    assert "cannot make the run directory" in result.stderr


def test_inspect_and_profile_print_tables(pipeline: MadeUpPipeline) -> None:
    assert "layer3.0.conv1" in invoke("inspect", "model.pt").stdout
    page = invoke("profile", "model.pt", "--layers", "1").stdout
    assert "/conv1/Conv" in page
    assert "accuracy: NOT MEASURED" in page


def test_report_writes_a_file(finished_run: RunDirectory, folder: Path) -> None:
    result = invoke("report", str(finished_run.root), "--format", "markdown", "--output", "report.md")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (folder / "report.md").read_text().startswith("# PASS: resnet20.pt")
    assert invoke("report", str(finished_run.root), "--format", "markdown").stdout.startswith("# PASS: resnet20.pt")


def test_report_names_a_damaged_record(finished_run: RunDirectory) -> None:
    (finished_run.root / "40-plan.json").write_text("{")
    result = invoke("report", str(finished_run.root))
    assert result.exit_code == 2
    assert "40-plan.json is truncated" in result.stderr


def test_devices_lists_every_backend() -> None:
    (listed,) = json.loads(invoke("devices", "--json").stdout)
    names = [backend["name"] for backend in listed["backends"]]
    assert listed["device"] == "local"
    assert {"onnxruntime", "openvino", "fake"} <= set(names)
    assert listed["host"]["cores"] > 0
    assert all(name in invoke("devices").stdout for name in names)


def test_the_demo_compresses_what_it_trained(pipeline: MadeUpPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_demo(directory: Path, *, observer: Observer) -> Config:
        return made_up.config(output=str(directory / "runs"))

    monkeypatch.setitem(sys.modules, "deployprune.demo", types.SimpleNamespace(run_demo=run_demo))
    result = invoke("demo", "--directory", "here")
    assert result.exit_code == 0
    assert "$ deployprune compress resnet20.pt --speedup 2x" in result.stderr
    assert pipeline.config.output == "here/runs"


def test_a_full_disk_while_a_record_is_written_is_told(
    pipeline: MadeUpPipeline, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def no_space(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill(config: Config, *, run: RunDirectory, observer: Observer) -> None:
        monkeypatch.setattr("os.fsync", no_space)
        made_up.write_records(run, made_up.records()[:1])

    pipeline.compress = fill
    result = invoke(*BUDGET)
    assert result.exit_code == 2
    assert "no room left to write" in result.stderr
    (run,) = (folder / "runs").iterdir()
    assert [file.name for file in run.iterdir()] == ["config.yaml"]
