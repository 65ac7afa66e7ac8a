"""Importance by measured sensitivity, on a network of which it is known what matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deployprune.config import load_config
from deployprune.pipeline.scoring import score_units
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import SilentObserver


class TwoBranches(nn.Module):
    """Two hidden layers side by side; of the second only a thousandth gets into the output."""

    def __init__(self) -> None:
        super().__init__()
        self.loud, self.quiet = nn.Linear(6, 16), nn.Linear(6, 16)
        self.from_loud, self.from_quiet = nn.Linear(16, 5), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return 5 * self.from_loud(self.loud(x).relu()) + 0.001 * self.from_quiet(self.quiet(x).relu())


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=generator.integers(0, 5, 300))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = TwoBranches().eval()
    settings = {"data.source": str(tmp_path / "data.npz"), "pruning.criterion": "sensitivity"}
    config = load_config(None, {**settings, "target.backends": ["fake"], "recovery.batch_size": 32}, {})
    return Workbench(config, SilentObserver(), (module, (torch.randn(2, 6),)))


def test_what_the_output_depends_on_is_worth_more(bench: Workbench) -> None:
    scores = score_units(bench)
    assert set(scores) == {"loud", "quiet"}
    assert scores["loud"].sum() > 1000 * scores["quiet"].sum()
    assert all((values >= 0).all() and values.shape == (16,) for values in scores.values())


def test_it_is_the_same_every_time_and_leaves_the_model_alone(bench: Workbench) -> None:
    before = {name: tensor.clone() for name, tensor in bench.module.state_dict().items()}
    first, second = score_units(bench), score_units(bench)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in bench.module.state_dict().items())
    assert all(parameter.grad is None for parameter in bench.module.parameters())
