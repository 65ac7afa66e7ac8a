"""Device tables as files: kept, refused, merged and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_tables import DETAILED, measured, scaled

from deployprune.device.checking import check_table, judge_check
from deployprune.device.files import read_table, table_path, write_table
from deployprune.device.identity import differences, require_same_device
from deployprune.device.merging import merge_tables
from deployprune.device.records import DeviceCheck, DeviceTable
from deployprune.errors import UsageError
from deployprune.host import describe_host
from deployprune.progress import SilentObserver
from deployprune.records import Ratio, Verdict


def check(table: DeviceTable, *, force: bool = False) -> DeviceCheck:
    with SilentObserver().step("checking") as task:
        return check_table("table.json", table, force=force, seed=0, task=task)


def elsewhere(table: DeviceTable) -> DeviceTable:
    return replace(table, host=replace(table.host, cpu="Another CPU"))


def test_a_table_comes_back_from_its_file_and_people_can_read_it(table: DeviceTable, tmp_path: Path) -> None:
    path = table_path(tmp_path, table)
    write_table(path, table)
    assert read_table(path) == table
    assert path.name.startswith("fake-")
    assert path.name.endswith("-f32-t1.json")
    text = path.read_text()
    assert json.loads(text)["schema"] == "deployprune/device-table/1"
    assert max(map(len, text.splitlines())) < 200
    assert text.count('"samples_ms"') <= len(text.splitlines())


def test_two_boards_with_one_processor_have_files_of_their_own(table: DeviceTable, tmp_path: Path) -> None:
    boards = [replace(table, target=replace(table.target, device=f"ssh://board-{name}")) for name in "ab"]
    paths = {table_path(tmp_path, board) for board in (table, *boards)}
    assert len(paths) == 3
    assert len({path.parent for path in paths}) == 1


@pytest.mark.parametrize("content", ["", "{", '{"schema": "deployprune/plan/1", "record": {}}', "\x00"])
def test_what_is_no_device_table_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"table\.json") as caught:
        read_table(path)
    assert "deployprune profile" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="cannot read"):
        read_table(tmp_path / "none.json")


def test_what_makes_another_device_is_said(table: DeviceTable) -> None:
    here = table.host
    assert differences(here, here, "onnxruntime") == ()
    assert differences(here, replace(here, memory_bytes=1, os="other", python="3.99"), "onnxruntime") == ()
    newer = replace(here, governor="powersave", versions={**here.versions, "onnxruntime": "9.9"})
    words = differences(here, newer, "onnxruntime")
    assert len(words) == 2
    assert "9.9" in " ".join(words)
    with pytest.raises(UsageError, match="another device: processor"):
        require_same_device("t.json", elsewhere(table).host, describe_host(), "fake", force=False)


def test_merging_keeps_all_samples_and_believes_the_quieter(table: DeviceTable) -> None:
    slow = scaled(measured(DETAILED[:1]), 3.0)
    merged = merge_tables(slow, table)
    cells = [sum(len(sweep.cells) for sweep in t.sweeps) for t in (slow, table, merged)]
    assert cells[2] == cells[0] + cells[1]
    assert len(merged.reference_ms) == len(slow.reference_ms) + len(table.reference_ms)
    assert merged.channel_step == table.channel_step
    by_name = {sweep.definition: sweep for sweep in merged.sweeps}
    own = table.points(table.sweeps[0])
    scale = merged.reference_quiet_ms / table.reference_quiet_ms
    assert merged.points(by_name[table.sweeps[0].definition]) == pytest.approx({w: ms * scale for w, ms in own.items()})


def test_tables_of_other_conditions_never_merge_and_of_other_devices_only_by_force(table: DeviceTable) -> None:
    with pytest.raises(UsageError, match="2 threads"):
        merge_tables(table, replace(table, target=replace(table.target, threads=2)), force=True)
    with pytest.raises(UsageError, match="suites"):
        merge_tables(table, replace(table, suite=99), force=True)
    with pytest.raises(UsageError, match="another device"):
        merge_tables(table, elsewhere(table))
    assert merge_tables(table, elsewhere(table), force=True).host == table.host


def test_a_true_table_passes_and_an_outdated_one_fails(table: DeviceTable) -> None:
    passed = check(table)
    assert passed.verdict is Verdict.PASS
    assert [cell.definition.kind for cell in passed.cells] == [table.reference.kind, "conv", "depthwise"]
    failed = check(scaled(table, 1.3))
    assert failed.verdict is Verdict.FAIL
    assert failed.speed.value == pytest.approx(1 / 1.3, rel=0.02)


def test_a_table_of_another_device_is_checked_only_by_force(table: DeviceTable) -> None:
    with pytest.raises(UsageError, match="another device"):
        check(elsewhere(table))
    assert check(elsewhere(table), force=True).verdict is Verdict.PASS


SURE = Ratio(value=1.0, low=0.99, high=1.01)


@pytest.mark.parametrize(
    ("speed", "layers", "verdict"),
    [
        (SURE, [SURE] * 10, Verdict.PASS),
        (SURE, [SURE] * 9 + [Ratio(value=2.0, low=1.9, high=2.1)], Verdict.PASS),
        (SURE, [SURE] * 7 + [Ratio(value=2.0, low=1.9, high=2.1)] * 3, Verdict.FAIL),
        (Ratio(value=1.2, low=1.15, high=1.3), [SURE] * 10, Verdict.FAIL),
        (Ratio(value=1.08, low=0.95, high=1.3), [SURE] * 10, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_of_a_check(speed: Ratio, layers: list[Ratio], verdict: Verdict) -> None:
    assert judge_check(speed, layers)[0] is verdict
