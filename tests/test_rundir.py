"""Run directories: resumed step by step, chained by hashes, never shared, never half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from deployprune.config import Config, load_config
from deployprune.errors import RunDirectoryError
from deployprune.files import write_atomic
from deployprune.records import InputSpec, ModelRef, Plan
from deployprune.rundir import RunDirectory
from deployprune.steps import MODEL, PLAN, LoadedRecord

LOADED = LoadedRecord(
    model=ModelRef(kind="module", source="model.pt"), inputs=(InputSpec(name="x", shape=(1, 3, 8, 8)),)
)
PLANNED = Plan(widths={"a": 8}, kept={"a": (0, 1)}, loss=0.1, gap=0.0, predicted_ratio={}, target_ratio={})


@pytest.fixture
def config() -> Config:
    return load_config(None, {"model.source": "nets/my model.pt", "target.speedup": "2x"}, {})


def never() -> NoReturn:
    pytest.fail("a step that has its record was computed again")


def two_steps(
    run: RunDirectory, weights: Path, *, load: Callable[[], LoadedRecord], plan: Callable[[], Plan]
) -> tuple[LoadedRecord, Plan]:
    return run.step(MODEL, load, files=[weights]), run.step(PLAN, plan, inputs=[MODEL])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def finished(tmp_path: Path, config: Config, weights: Path) -> Path:
    with RunDirectory.create(tmp_path / "runs", config) as run:
        two_steps(run, weights, load=lambda: LOADED, plan=lambda: PLANNED)
    return run.root


def test_the_name_tells_the_model_and_the_configuration_is_kept(tmp_path: Path, config: Config) -> None:
    with RunDirectory.create(tmp_path, config) as run, RunDirectory.create(tmp_path, config) as other:
        assert run.root.name.startswith("my-model-20")
        assert run.root != other.root
        assert RunDirectory.view(run.root).config == config


def test_a_resumed_run_computes_only_what_is_missing(finished: Path, weights: Path) -> None:
    (finished / PLAN.filename).unlink()
    with RunDirectory.open(finished) as run:
        assert two_steps(run, weights, load=never, plan=lambda: PLANNED) == (LOADED, PLANNED)
    with RunDirectory.open(finished) as run:
        assert two_steps(run, weights, load=never, plan=never) == (LOADED, PLANNED)


def test_a_deleted_record_takes_what_was_made_from_it_along(finished: Path) -> None:
    (finished / MODEL.filename).unlink()
    with RunDirectory.open(finished) as run:
        assert not run.has(PLAN)


def test_a_step_that_fails_leaves_no_record(tmp_path: Path, config: Config) -> None:
    def fail() -> NoReturn:
        raise KeyboardInterrupt

    with RunDirectory.create(tmp_path, config) as run, pytest.raises(KeyboardInterrupt):
        run.step(PLAN, fail)
    assert [file.name for file in run.root.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("name", ["weights.bin", "config.yaml", "10-model.json"])
def test_a_changed_input_is_named(finished: Path, weights: Path, name: str) -> None:
    path = weights if name == "weights.bin" else finished / name
    text = path.read_text()
    path.write_text(text.replace("model.pt", "other.pt") if "model.pt" in text else text + " ")
    with pytest.raises(RunDirectoryError, match=f"another .*{name}"):
        RunDirectory.open(finished)
    with RunDirectory.view(finished) as run:
        assert run.read(PLAN) == PLANNED


def test_inputs_that_change_between_two_calls_are_noticed(finished: Path, weights: Path) -> None:
    with RunDirectory.open(finished) as run:
        weights.write_bytes(b"other")
        with pytest.raises(RunDirectoryError, match=r"another .*weights\.bin"):
            two_steps(run, weights, load=never, plan=never)


def test_a_truncated_record_is_named_and_resuming_goes_on_when_it_is_deleted(finished: Path, weights: Path) -> None:
    path = finished / MODEL.filename
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunDirectoryError, match=r"10-model\.json is truncated") as caught:
        RunDirectory.open(finished)
    assert f"delete {path}" in str(caught.value.hint)
    path.unlink()
    with RunDirectory.open(finished) as run:
        assert two_steps(run, weights, load=lambda: LOADED, plan=lambda: PLANNED) == (LOADED, PLANNED)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        RunDirectory.view(tmp_path)


def test_two_holders_are_never_let_in(finished: Path) -> None:
    with RunDirectory.open(finished), pytest.raises(RunDirectoryError, match="already open in this process"):
        RunDirectory.open(finished)
    with RunDirectory.open(finished) as run:
        assert run.has(PLAN)


def test_another_process_is_kept_out_until_it_is_killed(finished: Path) -> None:
    code = "import sys, time, pathlib; from deployprune.rundir import RunDirectory\n"
    code += "RunDirectory.open(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(finished)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunDirectoryError, match=f"in use by process {process.pid}"):
            RunDirectory.open(finished)
        process.kill()
    with RunDirectory.open(finished) as run:
        assert run.has(PLAN)


def test_what_a_killed_process_left_unfinished_is_swept_away(finished: Path) -> None:
    (finished / ".unfinished-0123").write_text("half")
    with RunDirectory.open(finished):
        assert not list(finished.glob(".unfinished-*"))


def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(handle: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunDirectory.create(tmp_path, config) as run:
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(RunDirectoryError, match=r"no room left to write .*40-plan\.json"):
            run.write(PLAN, PLANNED)
    assert [file.name for file in run.root.iterdir()] == ["config.yaml"]


def test_a_real_limit_of_the_system_is_told_too(tmp_path: Path, config: Config) -> None:
    code = "import sys, pathlib; from deployprune.files import write_atomic; from deployprune.errors import *\n"
    code += "try: write_atomic(pathlib.Path(sys.argv[1]), b'x' * 100_000)\n"
    code += "except RunDirectoryError as error: print(error.message)"
    limited = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert limited.stdout.startswith("no room left to write")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_is_read_only_names_the_file_that_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*arguments: object, **options: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "temporary")

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(RunDirectoryError, match=r"cannot write .*groups\.dot: Read-only"):
        write_atomic(tmp_path / "groups.dot", b"")
