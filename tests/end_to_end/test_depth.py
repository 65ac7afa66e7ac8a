"""Residual branches are left out where widths alone do not reach the budget, and only where that is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_project import FAST, only_run
from warm_process import WarmProcess

import deployprune
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, PRUNED, VERIFICATION

NETS = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, outer, inner):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(outer, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU())
        self.project = nn.Conv2d(inner, outer, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.project(self.expand(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(32, inner) for inner in (32, 48, 64, 48)))
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def residual():
    torch.manual_seed(0)
    return Net().eval()
"""
COMPRESS = ["compress", "weights.pt", "--arch", "nets.py:residual", "--input", "1x3x16x16", "--speedup", "2x", *FAST]
COMPRESS += ["--min-width", "0.9"]


@pytest.fixture
def residual_project(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    space: dict[str, object] = {}
    exec(NETS, space)
    torch.save(space["residual"]().state_dict(), tmp_path / "weights.pt")  # type: ignore[operator]
    return tmp_path


def test_widths_alone_do_not_reach_the_budget(residual_project: Path, warm: WarmProcess) -> None:
    ended = warm.run(*COMPRESS, cwd=residual_project)
    assert ended.code == 3, ended.stderr
    assert "is below the floor" in ended.stderr


def test_with_depth_branches_go_and_the_budget_is_met(
    residual_project: Path, warm: WarmProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = warm.run(*COMPRESS, "--depth", cwd=residual_project)
    assert ended.code == 0, ended.stderr
    run = RunDirectory.view(only_run(residual_project))
    widths = run.read(PLAN).widths
    gone = [name for name, width in widths.items() if width == 0]
    assert gone
    assert run.read(PRUNED).proof.relative_difference < 1e-5
    ratio = next(c.ratio for c in run.read(VERIFICATION).targets[0].comparisons if c.role == "candidate")
    assert ratio.value <= 1 / 2
    monkeypatch.chdir(residual_project)
    module = deployprune.load_pruned(only_run(residual_project))
    assert module(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    names = [name for name, _ in module.named_parameters()]
    assert not any(name.startswith(group.removesuffix(".0")) for name in names for group in gone)
    page = warm.run("report", str(only_run(residual_project)), cwd=residual_project)
    assert gone[0] in page.stdout
