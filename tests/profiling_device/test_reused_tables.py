"""``compress --profile FILE``: a table of an earlier run is used as it is, and refused where it does not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from deployprune.cli.main import cli
from deployprune.records import LatencyTable
from deployprune.rundir import RunDirectory
from deployprune.steps import table_step

STEP = table_step("fake-t1-f32-b1")


def save_model(path: Path, *, seed: int = 0, width: int = 32) -> None:
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU()]
    torch.save(nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)), path)


def invoke(command: str, *arguments: str) -> Result:
    words = [command, "--input", "1x3x16x16", "--backend", "fake", "--variants", "8", "--table-rounds", "3"]
    return CliRunner().invoke(cli, [*words, *arguments])


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and the run that profiled it."""
    folder = tmp_path_factory.mktemp("profiled")
    save_model(folder / "net.pt")
    result = invoke("profile", str(folder / "net.pt"), "-o", str(folder / "runs"))
    assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def table_file(profiled: Path) -> Path:
    (run,) = (profiled / "runs").iterdir()
    return run / STEP.filename


def compress(model: Path, table: Path, output: Path, *more: str) -> Result:
    settings = ("--speedup", "1.5x", "--no-unstructured", "--verification-seconds", "1", "--output", str(output))
    return invoke("compress", str(model), "--profile", str(table), *settings, *more)


def recorded(output: Path) -> LatencyTable:
    (run,) = output.iterdir()
    return RunDirectory.view(run).read(STEP)


def edited(table_file: Path, folder: Path, **host: str) -> Path:
    """The table as if measured on another host."""
    content = json.loads(table_file.read_text())
    content["record"]["host"].update(host)
    (folder / "edited.json").write_text(json.dumps(content))
    return folder / "edited.json"


def test_a_table_is_used_without_measuring_again(profiled: Path, table_file: Path, tmp_path: Path) -> None:
    result = compress(profiled / "net.pt", table_file, tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    assert "from a file, 8 variants" in result.stderr
    assert recorded(tmp_path / "runs").runs == RunDirectory.view(table_file.parent).read(STEP).runs


def test_a_table_of_another_device_needs_force(profiled: Path, table_file: Path, tmp_path: Path) -> None:
    foreign = edited(table_file, tmp_path, cpu="Another CPU")
    refused = compress(profiled / "net.pt", foreign, tmp_path / "refused")
    assert refused.exit_code == 2
    assert "another device: processor Another CPU" in refused.stderr
    assert compress(profiled / "net.pt", foreign, tmp_path / "forced", "--force-profile").exit_code == 0


def test_a_table_of_another_model_file_needs_force_and_of_other_layers_nothing_helps(
    table_file: Path, tmp_path: Path
) -> None:
    save_model(tmp_path / "retrained.pt", seed=1)
    refused = compress(tmp_path / "retrained.pt", table_file, tmp_path / "refused")
    assert refused.exit_code == 2
    assert "--force-profile" in refused.stderr
    save_model(tmp_path / "wider.pt", width=48)
    wider = compress(tmp_path / "wider.pt", table_file, tmp_path / "wider", "--force-profile")
    assert wider.exit_code == 2
    assert "other channel groups" in wider.stderr


def test_a_table_of_other_conditions_is_refused(profiled: Path, table_file: Path, tmp_path: Path) -> None:
    result = compress(profiled / "net.pt", table_file, tmp_path / "runs", "--threads", "2", "--force-profile")
    assert result.exit_code == 2
    assert "the run is for fake-t2-f32-b1" in result.stderr


def test_a_file_that_is_no_table_is_refused(profiled: Path, tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    result = compress(profiled / "net.pt", tmp_path / "table.json", tmp_path / "runs")
    assert result.exit_code == 2
    assert "table.json" in result.stderr
