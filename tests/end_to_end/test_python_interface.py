"""``import deployprune``: the same steps as functions."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_project import INPUT, bright_quarters, network

import deployprune
from deployprune.backends.registry import require_backend
from deployprune.errors import ParityError, RunDirectoryError, UnsupportedModelError, UsageError
from deployprune.records import InputSpec, Target, Verdict
from deployprune.sources.data import load_data
from deployprune.training.settings import RecoverySettings

EXAMPLE = (torch.zeros(1, 1, 16, 16),)


@pytest.fixture
def net() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return network().eval()


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    with require_backend("fake").open(path, Target(backend="fake", batch=len(x))) as session:
        return session.run({session.inputs[0].name: x})[0]


def test_importing_the_library_imports_no_torch() -> None:
    code = "import deployprune, sys; print('torch' in sys.modules, deployprune.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"False {deployprune.__all__}\n"


def test_pruning_by_a_ratio_needs_no_target(net: torch.nn.Module) -> None:
    pruned = deployprune.prune(net, EXAMPLE, ratio=0.3)
    assert pruned.widths == {"0": 22, "3": 22}
    assert type(pruned.module) is type(net)
    assert pruned.module(torch.zeros(5, 1, 16, 16)).shape == (5, 4)
    assert {name: {dim: len(kept) for dim, kept in dims.items()} for name, dims in pruned.kept.items()}["3.weight"] == {
        0: 22,
        1: 22,
    }
    assert pruned.proof.relative_difference <= 1e-5
    assert pruned.proof.mask_changed_output
    assert pruned.proof.product == "eager"
    assert net[0].out_channels == 32, "the original is left alone"


def test_pruning_keeps_the_units_that_are_asked_for(net: torch.nn.Module) -> None:
    pruned = deployprune.prune(net, EXAMPLE, kept={"0": [1, 5, 8]})
    assert pruned.kept["0.weight"][0] == (1, 5, 8)
    assert torch.equal(pruned.module[0].weight, net[0].weight[[1, 5, 8]])
    assert pruned.widths["3"] == 32
    for wrong in (1.0, -0.1):
        with pytest.raises(UsageError, match="not between 0 and 1"):
            deployprune.prune(net, EXAMPLE, wrong)


def test_the_steps_one_by_one(net: torch.nn.Module, tmp_path: Path) -> None:
    analysis = deployprune.analyze(net, EXAMPLE)
    table = deployprune.profile(net, EXAMPLE, backend="fake", variants=8)
    plan = deployprune.plan(analysis, [table], speedup=1.45)
    assert plan.predicted_ratio["fake-t1-f32-b1"] <= 1 / 1.45
    with pytest.raises(UnsupportedModelError, match="floor"):
        deployprune.plan(analysis, [table], speedup=100)
    less = deployprune.plan(analysis, [table], speedup=1.45, max_parameters="30%", max_macs="40%")
    assert sum(less.widths.values()) < sum(plan.widths.values())
    assert analysis.record.macs_at(less.widths) <= 0.4 * analysis.record.macs
    assert deployprune.prune(net, EXAMPLE, kept=less.kept).module(*EXAMPLE).shape == net(*EXAMPLE).shape
    with pytest.raises(UnsupportedModelError, match="the limit of"):
        deployprune.plan(analysis, [table], speedup=1.45, max_size="0.1%")
    with pytest.raises(UsageError, match="max_macs"):
        deployprune.plan(analysis, [table], speedup=1.45, max_macs="many")
    pruned = deployprune.prune(net, EXAMPLE, kept=plan.kept)
    assert pruned.widths == plan.widths
    x, y = bright_quarters(96)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    data = load_data(str(tmp_path / "data.npz"), input_spec=InputSpec(name="input", shape=(1, 1, 16, 16)))
    settings = RecoverySettings(epochs=1, batch_size=16, precision="fp32")
    record = deployprune.finetune(pruned.module, net, data, settings)
    assert (record.epochs, record.precision) == (1, "fp32")
    files = {"dense": net, "candidate": pruned.module}
    for name, module in files.items():
        artifact = deployprune.export(module, EXAMPLE, tmp_path / f"{name}.onnx")
        assert artifact.size_bytes == (tmp_path / f"{name}.onnx").stat().st_size
        expected = module.eval()(torch.from_numpy(x[:3])).detach().numpy()
        np.testing.assert_allclose(outputs(tmp_path / f"{name}.onnx", x[:3]), expected, rtol=1e-3, atol=1e-4)
    verdict = deployprune.verify(
        tmp_path / "dense.onnx",
        tmp_path / "candidate.onnx",
        {"target.backends": ["fake"], "target.speedup": "1.3x", "verification.apart_seconds": 0},
    )
    assert verdict.verdict == "PASS", verdict.reason


def test_export_writes_what_the_suffix_says(net: torch.nn.Module, tmp_path: Path) -> None:
    assert deployprune.export(net, EXAMPLE, tmp_path / "net.xml", static=True).format == "openvino"
    assert (tmp_path / "net.bin").is_file()
    with pytest.raises(UsageError, match="names no known format"):
        deployprune.export(net, EXAMPLE, tmp_path / "net.engine")


def test_a_model_whose_outputs_are_random_is_not_exported(tmp_path: Path) -> None:
    class Noisy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    with pytest.raises(ParityError):
        deployprune.export(Noisy(), EXAMPLE, tmp_path / "noisy.onnx")


def test_the_model_of_a_run_is_loaded_again(
    finished_run: Path, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    module = deployprune.load_pruned(finished_run)
    x, _ = bright_quarters(8)
    expected = outputs(finished_run / "export/model.onnx", x)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert sum(p.numel() for p in module.parameters()) < sum(p.numel() for p in network().parameters())
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        deployprune.load_pruned(tmp_path)


def test_of_a_run_that_pruned_nothing_the_dense_model_is_loaded(
    fresh_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(fresh_project)
    settings = {"model.inputs": [INPUT], "target.latency": "30ms", "target.backends": ["fake"]}
    record, root = deployprune.compress("model.pt", {**settings, "table.variants": 6, "table.rounds": 3})
    assert record.already_met
    module = deployprune.load_pruned(root)
    assert not module.training
    dense = deployprune.load_model("model.pt").state_dict()
    assert module.state_dict().keys() == dense.keys()
    assert all(torch.equal(tensor, dense[name]) for name, tensor in module.state_dict().items())


@pytest.mark.slow
def test_a_run_from_python_gives_the_files_of_the_command_line(
    finished_run: Path, fresh_project: Path, environment: dict[str, str]
) -> None:
    program = fresh_project / "compress_it.py"
    program.write_text(PROGRAM.format(shape=INPUT))
    done = subprocess.run(
        [sys.executable, program], cwd=fresh_project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "PASS True True\n"
    assert done.stderr == ""


def test_a_sweep_is_a_run_a_speed_up(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    settings = {
        "model.inputs": [INPUT],
        "target.backends": ["fake"],
        "table.variants": 6,
        "table.rounds": 3,
        "verification.unstructured": False,
        "verification.apart_seconds": 0,
        "output": str(tmp_path),
    }
    record, folder = deployprune.sweep("model.pt", [1.45, "1.2x"], settings)
    assert [point.speedup for point in record.points] == [1.2, 1.45]
    assert record.verdict is Verdict.PASS
    assert folder.parent == tmp_path
    assert isinstance(deployprune.load_pruned(folder / "1.45x"), torch.nn.Module)
    for speedups in ([], [0.5]):
        with pytest.raises(UsageError, match="speed-up"):
            deployprune.sweep("model.pt", speedups, settings)


def test_sittings_of_the_loop_and_of_the_verification_lie_apart(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    settings = {
        "target.speedup": "1.45x",
        "model.inputs": [INPUT],
        "target.backends": ["fake"],
        "table.variants": 6,
        "table.rounds": 3,
        "verification.unstructured": False,
        "verification.apart_seconds": 5000,
        "output": str(tmp_path),
    }
    record, _ = deployprune.compress("model.pt", settings)
    assert record.verdict is Verdict.PASS
    assert sum(wait > 4000 for wait in waits) >= 2, "one before a plan is timed again, one in the verification"


PROGRAM = """
import deployprune
from pathlib import Path

settings = {{
    "model.inputs": ["{shape}"],
    "target.speedup": "1.45x",
    "target.backends": ["fake"],
    "data.source": "data.npz",
    "table.variants": 6,
    "table.rounds": 3,
    "recovery.epochs": 0,
    "verification.apart_seconds": 0,
}}
record, root = deployprune.compress("model.pt", settings)
module = deployprune.load_pruned(root)
print(record.verdict, (root / "export/model.onnx").is_file(), sum(p.numel() for p in module.parameters()) < 9000)
"""
