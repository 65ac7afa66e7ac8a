"""Records survive the way to JSON and back, and damaged files are refused by name."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployprune.codec import decode, encode, read_envelope, schema_of
from deployprune.errors import RunDirectoryError
from deployprune.records import AccuracyResult, Axis, ChannelGroup, LatencyTable, Measurement, Plan, VerificationRecord

WIDTHS = st.dictionaries(st.text(max_size=8), st.integers(1, 4096), max_size=4)
SHARES = st.dictionaries(st.text(max_size=8), st.floats(0, 1), max_size=3)


@given(widths=WIDTHS, shares=SHARES, loss=st.floats(0, 1), gap=st.floats(0, 1e6))
def test_a_plan_reads_back_equal(widths: dict[str, int], shares: dict[str, float], loss: float, gap: float) -> None:
    kept = {name: tuple(range(min(width, 5))) for name, width in widths.items()}
    plan = Plan(widths=widths, kept=kept, loss=loss, gap=gap, predicted_ratio=shares, target_ratio=shares)
    assert decode(encode(plan), Plan) == plan


def test_integer_keys_inside_units_stay_integers() -> None:
    group = ChannelGroup(
        name="conv1",
        kind="channel",
        size=2,
        axes=(Axis(parameter="conv1.weight", dim=0),),
        units=({"conv1.weight": {0: (0,)}}, {"conv1.weight": {0: (1,)}}),
        parameters=18,
        macs=900,
    )
    assert decode(encode(group), ChannelGroup) == group


def test_the_envelope_names_schema_and_inputs() -> None:
    data = encode(Measurement(samples_ms=(1.0, 2.0)), {"00-host.json": "ab"})
    assert json.loads(data)["schema"] == "deployprune/measurement/1"
    assert read_envelope(data).inputs == {"00-host.json": "ab"}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [(LatencyTable, "deployprune/latency-table/1"), (VerificationRecord, "deployprune/verification/1")],
)
def test_schema_names_are_words(kind: type, schema: str) -> None:
    assert schema_of(kind) == schema


def test_numpy_scalars_become_plain_numbers() -> None:
    result = AccuracyResult(metric="top1", value=np.float64(91.5), examples=np.int64(100))  # type: ignore[arg-type]
    read = decode(encode(result), AccuracyResult)
    assert (read.value, type(read.value), read.examples) == (91.5, float, 100)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_refused_when_written(value: float) -> None:
    with pytest.raises(RunDirectoryError, match="cannot be kept"):
        encode(AccuracyResult(metric="top1", value=value, examples=1))


@given(cut=st.integers(0, 100))
def test_every_truncation_is_noticed_and_names_the_file(cut: int) -> None:
    data = encode(AccuracyResult(metric="top1", value=91.5, examples=100)).rstrip()
    with pytest.raises(RunDirectoryError, match=r"x\.json is truncated") as caught:
        decode(data[: min(cut, len(data) - 1)], AccuracyResult, name="x.json")
    assert "delete x.json" in str(caught.value.hint)


@pytest.mark.parametrize("record", [{"metric": "top1"}, [], {"metric": 1, "value": "a", "examples": 2}])
def test_a_record_of_another_shape_is_refused(record: Any) -> None:
    data = json.dumps({"schema": "deployprune/accuracy-result/1", "inputs": {}, "record": record}).encode()
    with pytest.raises(RunDirectoryError, match="damaged"):
        decode(data, AccuracyResult, name="x.json")


def test_another_schema_version_is_refused() -> None:
    data = encode(AccuracyResult(metric="top1", value=1.0, examples=1)).replace(b"result/1", b"result/2")
    with pytest.raises(RunDirectoryError, match="accuracy-result/2"):
        decode(data, AccuracyResult)
