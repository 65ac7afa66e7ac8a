"""Several targets in one run: one set of weights meets all of their budgets, and every page tells them apart."""

from __future__ import annotations

import itertools
import json
import shlex
import signal
from pathlib import Path

import pytest
import torch
from torch import nn
from toy_project import INPUT, only_run
from warm_process import WarmProcess

from deployprune.config import load_config
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, VERIFICATION

SETTINGS = f"""
model: {{source: model.pt, inputs: [{INPUT}]}}
target: {{speedup: 1.45x}}
targets:
  - {{backend: fake}}
  - {{backend: fake, threads: 2, speedup: 1.3x}}
table: {{variants: 6, rounds: 3}}
verification: {{unstructured: false}}
"""
GOALS = {1: 1 / 1.45, 2: 1 / 1.3}


@pytest.fixture
def configured(fresh_project: Path) -> Path:
    """The project with a file that names two targets."""
    (fresh_project / "deployprune.yaml").write_text(SETTINGS)
    return fresh_project


def test_one_model_meets_the_budgets_of_two_targets(configured: Path, warm: WarmProcess) -> None:
    killed = warm.run("compress", cwd=configured, kill_after="30-table-fake-t1-f32-b1")
    assert killed.code == -signal.SIGKILL, killed.stderr
    root = only_run(configured)
    ended = warm.run("compress", "--resume", str(root), cwd=configured)
    assert ended.code == 0, ended.stderr
    assert "latency table of fake-t1-f32-b1" not in ended.stderr, "it was measured before"
    run = RunDirectory.view(root)
    record = run.read(VERIFICATION)
    assert [verified.target.threads for verified in record.targets] == [1, 2]
    used = []
    for verified in record.targets:
        goal = GOALS[verified.target.threads]
        (ratio,) = (side.ratio.value for side in verified.comparisons if side.role == "candidate")
        assert verified.target_ms == pytest.approx(goal * verified.reference_ms)
        used.append(ratio / goal)
    assert 0.95 <= max(used) <= 1.0
    assert run.read(PLAN).target_ratio == pytest.approx({"fake-t1-f32-b1": GOALS[1], "fake-t2-f32-b1": GOALS[2]})
    (artifact,) = {card.artifact.sha256 for v in record.targets for card in v.cards if card.role == "candidate"}
    assert artifact
    for form in ("terminal", "markdown"):
        page = warm.run("report", str(root), "--format", form, cwd=configured)
        assert "fake · 1 thread: " in page.stdout
        assert "fake · 2 threads: " in page.stdout
        assert "from eager on fake · 2 threads" in " ".join(page.stdout.split())
    again = shlex.split(page.stdout.split("```sh\n")[1].splitlines()[0])
    assert again == ["deployprune", "compress", "--config", str(root / "config.yaml")]
    assert load_config(configured / again[-1], {}, {}) == run.config


def test_files_are_verified_on_every_target(
    configured: Path, project: Path, finished_run: Path, warm: WarmProcess
) -> None:
    files = [str(finished_run / name) for name in ("dense/dense.onnx", "export/model.onnx")]
    ended = warm.run("verify", *files, "--json", cwd=configured)
    record = json.loads(ended.stdout)
    assert [item["target"]["threads"] for item in record["targets"]] == [1, 2]
    assert "on fake · 2 threads ..." in ended.stderr
    budgets = [item["target_ms"] / item["reference_ms"] for item in record["targets"]]
    assert budgets == pytest.approx([GOALS[1], GOALS[2]])


def test_backends_beside_targets_are_refused(configured: Path, warm: WarmProcess) -> None:
    ended = warm.run("compress", "--backend", "fake", cwd=configured)
    assert ended.code == 2
    assert "error: configuration: $.target.backends is given beside $.targets" in ended.stderr
    assert not (configured / "runs").exists()


@pytest.mark.slow
def test_two_runtimes_at_different_speed_ups_get_one_model(tmp_path: Path, warm: WarmProcess) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(deep_network().eval(), tmp_path / "model.pt")
    (tmp_path / "deployprune.yaml").write_text(REAL)
    ended = warm.run("compress", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    used = {}
    for verified in json.loads(ended.stdout)["targets"]:
        (ratio,) = (side["ratio"]["value"] for side in verified["comparisons"] if side["role"] == "candidate")
        used[verified["target"]["backend"]] = ratio * verified["reference_ms"] / verified["target_ms"]
    assert used.keys() == {"onnxruntime", "openvino"}
    assert max(used.values()) <= 1.005
    assert max(used.values()) >= 0.94
    run = RunDirectory.view(only_run(tmp_path))
    assert sorted(run.read(PLAN).target_ratio.values()) == pytest.approx([1 / 2, 1 / 1.5])


def deep_network() -> nn.Sequential:
    """Six convolutions, so that there are many plans between one channel step and the next."""
    widths = (1, 32, 48, 64, 64, 64, 64)
    blocks = [
        part
        for source, result in itertools.pairwise(widths)
        for part in (nn.Conv2d(source, result, 3, padding=1), nn.BatchNorm2d(result), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 4))


REAL = """
model: {source: model.pt, inputs: [1x1x32x32]}
target: {speedup: 2x}
targets:
  - {backend: onnxruntime}
  - {backend: openvino, speedup: 1.5x}
verification: {unstructured: false}
"""
