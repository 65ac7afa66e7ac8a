"""A table's files count among its seconds, and leave enough of them to measure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from deployprune.backends.base import Session
from deployprune.config import load_config
from deployprune.pipeline import node_times, tables
from deployprune.pipeline.spending import Spending, measuring_seconds
from deployprune.pipeline.tables import measure_table
from deployprune.pipeline.variants import Variants, variant_files
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import SilentObserver
from deployprune.records import Measurement, NodeTime


def test_files_leave_what_they_did_not_take_and_two_fifths_at_least() -> None:
    assert measuring_seconds(90.0, 0.0) == 90.0
    assert measuring_seconds(90.0, 25.0) == 65.0
    assert measuring_seconds(90.0, 300.0) == 36.0


def test_blocks_are_counted_on_as_far_as_opening_their_files_leaves_half_of_the_time() -> None:
    quick, dear = Spending(left=100.0), Spending(left=100.0)
    assert quick.share(0.5, required=6, planned=18) == pytest.approx(60.0 / 18)  # the rest is for the nodes
    quick.spend_on_block(4.0)
    assert quick.share(0.5, required=5, planned=17) == pytest.approx(56.0 / 17)
    assert dear.share(4.0, required=6, planned=18) == pytest.approx(60.0 / (0.5 * 60.0 / 4.0))  # the first one, too
    dear.spend_on_block(40.0)
    assert dear.share(12.0, required=5, planned=17) == pytest.approx(20.0 / 5)  # these are timed in any case


def test_no_further_block_begins_where_opening_its_files_would_take_most_of_what_is_left() -> None:
    spending = Spending(left=30.0)
    spending.end_profiling()
    spending.end_profiling()
    assert spending.affords_another()
    assert spending.share(8.0, required=0, planned=12) == pytest.approx(30.0 / (0.5 * 30.0 / 8.0))
    spending.spend_on_block(10.0)
    assert spending.affords_another()
    spending.spend_on_block(10.0)
    assert not spending.affords_another()


def test_nodes_that_take_long_are_timed_of_twenty_variants() -> None:
    slow, quick = Spending(left=100.0), Spending(left=100.0)
    for timed in range(20):
        assert slow.profiles(timed)
        slow.spend_on_nodes(4.0)
        quick.spend_on_nodes(1.0)
    assert not slow.profiles(20)
    assert quick.profiles(20)


def test_a_tenth_of_the_seconds_is_kept_for_nodes_that_are_timed_again() -> None:
    spending = Spending(left=100.0)
    spending.spend_on_nodes(25.0)
    spending.end_profiling()
    assert spending.share(0.0, required=0, planned=1) == pytest.approx(65.0)
    assert spending.profiles_again()
    spending.spend_on_nodes(10.0)
    assert not spending.profiles_again()
    spending.end_profiling()
    assert spending.share(0.0, required=0, planned=1) == pytest.approx(65.0)


def test_variants_that_were_timed_least_come_first_in_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[set[str]] = []
    measure = tables.measure_interleaved

    def note(sessions: dict[str, Session], **options: object) -> dict[str, Measurement]:
        met.append(set(sessions))
        found = measure(sessions, **options)  # type: ignore[arg-type]
        cut = 2 if len(met) == 2 else 5
        return {name: Measurement(samples_ms=timed.samples_ms[:cut]) for name, timed in found.items()}

    monkeypatch.setattr(tables, "measure_interleaved", note)
    with some_variants(22) as variants, SilentObserver().step("") as task:
        measure_table(variants, variants.bench.targets[0], 60.0, task)
    assert len(met) == 3 * 3
    assert met[3] == met[1]


@contextmanager
def some_variants(count: int, side: int = 6) -> Iterator[Variants]:
    """Variants of a small network, for the fake backend."""
    convolutions = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)
    net = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8 * (side - 4) ** 2, 2)).eval()
    config = load_config(None, {"target.backends": ["fake"]}, {})
    bench = Workbench(config, SilentObserver(), (net, (torch.zeros(1, 3, side, side),)))
    with variant_files(bench, count) as found:
        yield found


@pytest.fixture(scope="module")
def variants() -> Iterator[Variants]:
    with some_variants(6) as found:
        yield found


@pytest.mark.parametrize(("files_s", "left_s"), [(0.0, 10.0), (4.0, 6.0), (60.0, 4.0)])
def test_a_table_spends_on_measuring_what_its_files_left(
    variants: Variants, files_s: float, left_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that the files alone move on."""
    clock = [0.0]
    write_all = Variants.write_all

    def slowly(own: Variants, *args: object) -> None:
        write_all(own, *args)  # type: ignore[arg-type]
        clock[0] += files_s

    granted = []
    measure = tables.measure_interleaved

    def note(*args: object, **options: object) -> object:
        granted.append(options["budget_s"])
        return measure(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Variants, "write_all", slowly)
    monkeypatch.setattr(tables, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(tables, "measure_interleaved", note)
    with SilentObserver().step("") as task:
        table = measure_table(variants, variants.bench.targets[0], 10.0, task)
    assert len(table.runs) == 6
    assert table.seconds == files_s
    assert granted[0] == pytest.approx(left_s * 0.6 / 3)  # of three passes, beside the nodes' times


@pytest.mark.parametrize("again", [1.0, 9.0])
def test_nodes_that_were_disturbed_are_timed_again_and_the_lesser_times_count(
    again: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the variants takes four times as long in its nodes at first, ``again`` times when asked again."""
    asked: Counter[str] = Counter()
    plain = node_times.time_nodes

    def disturbed(path: Path, *args: object) -> tuple[NodeTime, ...]:
        number, name = len(asked), path.name
        asked[name] += 1
        factor = again if asked[name] > 1 else 4.0 if number % 3 == 1 else 1.0
        return tuple(replace(node, ms=node.ms * factor) for node in plain(path, *args))  # type: ignore[arg-type]

    monkeypatch.setattr(node_times, "time_nodes", disturbed)
    with some_variants(15, side=64) as variants, SilentObserver().step("") as task:
        table = measure_table(variants, variants.bench.targets[0], 60.0, task)
    assert sorted(asked.values()) == [1] * 10 + [2] * 5
    shares = np.array([sum(node.ms for node in run.nodes) / run.total_ms for run in table.runs])
    assert (shares > 2.0 * np.median(shares)).sum() == (0 if again == 1.0 else 5)


@pytest.mark.parametrize(("scatter", "passes"), [(0.0, 3), (0.1, 6)])
def test_a_table_takes_more_passes_where_its_variants_differ_between_them(
    variants: Variants, scatter: float, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    measure = tables.measure_interleaved

    def scattered(*args: object, **options: object) -> dict[str, Measurement]:
        found = measure(*args, **options)  # type: ignore[arg-type]
        factors = rng.lognormal(0.0, scatter, len(found)).tolist()
        return {
            name: Measurement(samples_ms=tuple(ms * factor for ms in timed.samples_ms))
            for (name, timed), factor in zip(found.items(), factors, strict=True)
        }

    monkeypatch.setattr(tables, "measure_interleaved", scattered)
    with SilentObserver().step("") as task:
        table = measure_table(variants, variants.bench.targets[0], 60.0, task)
    assert {len(run.samples_ms) for run in table.runs} == {5 * passes}
