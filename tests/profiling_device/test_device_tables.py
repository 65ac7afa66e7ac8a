"""What is learned of a device whose law is known, and what the budget bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from made_up_tables import DETAILED, measured

from deployprune.backends.fake import CHANNEL_STEP
from deployprune.device.records import DeviceTable
from deployprune.device.staircase import fit_staircase

WIDTHS = (16, 24, 32, 40, 44, 48, 50, 52, 56, 60, 63, 64, 65, 68, 70, 72, 76, 80, 96, 128)


def law_of(latency: Callable[[int], float]) -> tuple[int, int]:
    """Step and alignment that are learned from this latency, with a noise of half a percent."""
    points = {width: latency(width) * (1 + 0.005 * (-1) ** index) for index, width in enumerate(WIDTHS)}
    law = fit_staircase(points)
    assert law is not None
    return law.step, law.alignment


@pytest.mark.parametrize("step", [8, 16, 32])
def test_the_step_of_a_staircase_is_found(step: int) -> None:
    assert law_of(lambda width: 0.2 + 0.01 * (-(-width // step) * step)) == (step, 1)


def test_a_straight_line_has_no_step_and_no_cliff() -> None:
    assert law_of(lambda width: 0.1 + 0.01 * width) == (1, 1)


@pytest.mark.parametrize("alignment", [4, 8, 16])
def test_the_alignment_of_a_cliff_is_found_with_its_depth(alignment: int) -> None:
    points = {width: (0.05 + 0.001 * width) * (5 if width % alignment else 1) for width in WIDTHS}
    law = fit_staircase(points)
    assert law is not None
    assert law.alignment == alignment
    assert law.cliff(64) == pytest.approx(4.0, rel=1e-3)
    assert law.predict_ms(63) == pytest.approx(5 * (0.05 + 0.063), rel=1e-3)


def test_too_few_widths_have_no_law() -> None:
    assert fit_staircase({16: 1.0, 32: 2.0}) is None


def test_the_fake_device_shows_its_step_on_all_kinds_of_layer(table: DeviceTable) -> None:
    assert table.channel_step == CHANNEL_STEP
    assert {sweep.definition for sweep in table.sweeps} == set(DETAILED)
    assert table.noise < 0.002
    for sweep in (sweep for sweep in table.sweeps if sweep.definition.kind == "conv"):
        points = table.points(sweep)
        assert points[65] / points[64] > 1.05
        assert points[63] / points[64] == pytest.approx(1.0, abs=0.02)


def test_throughput_is_a_share_of_the_fastest(table: DeviceTable) -> None:
    found = [
        table.gmacs(sweep.definition, width, ms) for sweep in table.sweeps for width, ms in table.points(sweep).items()
    ]
    assert 0 < max(found) <= table.peak_gmacs


def test_threads_are_measured_up_to_the_cores(table: DeviceTable) -> None:
    counts = sorted({run.threads for run in table.threads})
    assert counts[0] == 1
    assert counts[-1] == table.host.cores
    assert len(counts) <= table.host.cores


def test_a_small_budget_ends_early_and_says_what_is_missing() -> None:
    short = measured(budget_s=1e-3)
    assert len(short.reference_ms) == 1
    assert 0 < sum(len(sweep.cells) for sweep in short.sweeps) < short.planned_cells
    assert short.sweeps[0].law is None


def test_two_measurements_of_the_fake_device_agree(table: DeviceTable) -> None:
    again = measured(DETAILED[:1])
    first = table.points(table.sweeps[0])
    for width, ms in again.points(again.sweeps[0]).items():
        assert ms == pytest.approx(first[width], rel=0.01)
