"""The command line as a process: help, start-up, exit codes, and what goes where."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import deployprune
from deployprune.cli.main import COMMANDS
from deployprune.rundir import RunDirectory

MODULE = [sys.executable, "-m", "deployprune"]


def run(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments], capture_output=True, text=True, cwd=cwd, env={**_environment(), **environ}, check=False
    )


def _environment() -> dict[str, str]:
    """This one, in which the package is found from any folder."""
    package = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(package), os.environ.get("PYTHONPATH", "")))}


def test_help_is_instant_and_imports_no_framework() -> None:
    code = "import sys\nfrom deployprune.cli.main import cli\ntry: cli(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'onnxruntime', 'openvino', 'numpy', 'rich') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=True
    )
    assert result.stdout.endswith("[]\n")
    best = min(_seconds(["--help"]) for _ in range(3))
    assert best < 0.3


def _seconds(arguments: list[str]) -> float:
    """The processor's time that ``deployprune`` takes: what else runs beside it does not count."""
    before = os.times()
    run(*arguments)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_page(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: ")
    assert command in run("--help").stdout


def test_help_is_told_in_whole_sentences_and_explains_the_model() -> None:
    assert "..." not in run("--help").stdout.partition("Commands:")[2]
    assert re.search(r"Model:\n  MODEL +model file, or torchvision:NAME", run("compress", "--help").stdout)


def test_the_version_is_told() -> None:
    assert run("--version").stdout == f"deployprune, version {deployprune.__version__}\n"


def test_json_is_all_of_stdout(finished_run: RunDirectory) -> None:
    result = run("report", str(finished_run.root), "--json")
    records = json.loads(result.stdout)
    assert records["80-verification"]["verdict"] == "PASS"
    assert result.stderr == ""


def test_no_color_is_honoured(finished_run: RunDirectory) -> None:
    coloured = run("report", str(finished_run.root), FORCE_COLOR="1", NO_COLOR="").stdout
    assert "\x1b[" in coloured
    plain = run("report", str(finished_run.root), FORCE_COLOR="1", NO_COLOR="1", TERM="xterm").stdout
    assert "\x1b[3" not in plain


def test_a_stdout_without_our_letters_ends_no_command(finished_run: RunDirectory) -> None:
    result = run("report", str(finished_run.root), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.returncode == 0
    assert "97.4 % of the budget" in result.stdout


def test_a_reader_that_goes_away_is_no_error(finished_run: RunDirectory) -> None:
    with subprocess.Popen(
        [*MODULE, "report", str(finished_run.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "rror" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["compress", "model.pt", "--speedup", "2x", "--target-latency", "3ms"],
            "$.target: both latency and speedup",
        ),
        (["compress", "model.pt"], "there is no latency budget"),
        (["compress", "--speedup", "2x"], "no model is named"),
        (["compress", "model.pt", "--speedup", "fast"], "error: --speedup: speed-up 'fast'"),
        (["compress", "model.pt", "--epochs", "-1"], "error: --epochs: expected a whole number >= 0"),
        (["compress", "model.pt", "--epochs", "x"], "'x' is not a valid integer"),
        (["compress", "model.pt", "--arch-arg", "width"], "not KEY=VALUE"),
        (["compress", "model.pt", "--config", "none.yaml"], "none.yaml"),
        (["compress", "--resume", "nowhere"], "not a run directory"),
        (["compress", "--resume", "nowhere", "m.pt", "--epochs", "3"], "MODEL, --epochs cannot be changed"),
        (["sweep", "--resume", "nowhere", "--seed", "3", "--speedups", "2x"], "--seed, --speedups cannot be changed"),
        (["compress", "model.pt", "--arch-arg", "a=[1"], "the value is not valid YAML"),
        (["report", "nowhere"], "not a run directory"),
        (["compres"], "No such command"),
    ],
)
def test_wrong_use_ends_with_2_and_one_clear_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_of_the_file_is_named_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "deployprune.yaml").write_text("recovery: {epoch: 3}")
    result = run("compress", "model.pt", "--speedup", "2x", cwd=tmp_path)
    assert result.returncode == 2
    assert "deployprune.yaml: $.recovery.epoch: unknown key, did you mean `epochs`?" in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in run("report", "nowhere", "--debug", cwd=tmp_path).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(shell: str) -> None:
    assert "_DEPLOYPRUNE_COMPLETE" in run("completion", shell).stdout


def test_options_are_completed() -> None:
    words = {"COMP_WORDS": "deployprune compress --target", "COMP_CWORD": "2"}
    assert "--target-latency" in run(_DEPLOYPRUNE_COMPLETE="bash_complete", **words).stdout


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    code = "import sys, types, time\n"
    code += "def compress(config, *, run, observer):\n    print('working', flush=True)\n    time.sleep(60)\n"
    code += "sys.modules['deployprune.pipeline'] = types.SimpleNamespace(compress=compress)\n"
    code += "from deployprune.cli.main import main\nmain()"
    command = [sys.executable, "-c", code, "compress", "model.pt", "--speedup", "2x"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=_environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "go on with: deployprune compress --resume runs" in errors
    assert "Traceback" not in errors
