"""The folder of a sweep: what its runs are configured with, and what becomes of one that was cut short."""

from __future__ import annotations

from pathlib import Path

import made_up_run as made_up
import pytest

from deployprune.config import load_config
from deployprune.errors import RunDirectoryError, UnsafeModelError
from deployprune.steps import table_step
from deployprune.sweepdir import SweepDirectory

TABLE = table_step("onnxruntime-t1-f32-b1")


def test_every_run_has_its_speed_up_on_all_targets(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("targets: [{backend: onnxruntime, latency: 3ms}, {backend: openvino, threads: 2, speedup: 4x}]")
    config = load_config(file, {"model.source": "m.pt"}, {})
    with SweepDirectory.create(tmp_path / "runs", config, [3.0, 1.5, 3.0]) as sweep:
        points = sweep.read().points
        assert [(point.speedup, point.run) for point in points] == [(1.5, "1.5x"), (3.0, "3x")]
        for point in points:
            with sweep.open_run(point) as run:
                assert run.root == sweep.root / point.run
                budgets = run.config.budgets.values()
                assert [(budget.speedup_factor, budget.latency_ms) for budget in budgets] == [(point.speedup, None)] * 2


def test_later_runs_use_the_tables_of_the_first(tmp_path: Path) -> None:
    with SweepDirectory.create(tmp_path, made_up.config(), [2.0, 3.0]) as sweep:
        first, second = sweep.read().points
        with sweep.open_run(first) as run:
            assert run.config.table.files == []
            run.write(TABLE, made_up.table("onnxruntime"))
        with sweep.open_run(second) as run:
            assert [Path(name) for name in run.config.table.files] == [sweep.root / "2x" / TABLE.filename]


def test_a_begun_run_is_gone_on_with_and_one_without_configuration_begun_anew(tmp_path: Path) -> None:
    with SweepDirectory.create(tmp_path, made_up.config(), [2.0, 3.0]) as sweep:
        first, second = sweep.read().points
        with sweep.open_run(first) as run:
            run.write(TABLE, made_up.table("onnxruntime"))
        with sweep.open_run(first) as run:
            assert run.has(TABLE)
        (sweep.root / second.run).mkdir()
        (sweep.root / second.run / "half-written").touch()
        with sweep.open_run(second) as run:
            assert sorted(path.name for path in run.root.iterdir() if not path.name.startswith(".")) == ["config.yaml"]


def test_a_sweep_belongs_to_one_process_and_remembers_no_permission(tmp_path: Path) -> None:
    config = made_up.config(model__trust_pickle=True)
    with SweepDirectory.create(tmp_path, config, [2.0]) as sweep:
        with pytest.raises(RunDirectoryError, match="already open"):
            SweepDirectory.open(sweep.root)
        root = sweep.root
    with SweepDirectory.open(root) as again:
        assert again.config.model.trust_pickle is False
    with SweepDirectory.open(root, trust_pickle=True) as trusted:
        assert trusted.config.model.trust_pickle is True


def refuse(sweep: SweepDirectory, *, begun: bool) -> None:
    with sweep:
        if begun:
            sweep.open_run(sweep.read().points[0]).close()
        raise UnsafeModelError("a pickle")


@pytest.mark.parametrize("begun", [False, True])
def test_a_refused_sweep_leaves_nothing_unless_it_has_a_run(tmp_path: Path, begun: bool) -> None:
    sweep = SweepDirectory.create(tmp_path, made_up.config(), [2.0])
    with pytest.raises(UnsafeModelError):
        refuse(sweep, begun=begun)
    assert sweep.root.exists() is begun


def test_another_folder_is_no_sweep(tmp_path: Path) -> None:
    run = made_up.make_run(tmp_path)
    with pytest.raises(RunDirectoryError, match="is not the folder of a sweep") as caught:
        SweepDirectory.open(run.root)
    assert "compress --resume" in str(caught.value.hint)
    assert not SweepDirectory.holds_sweep(run.root)
