"""Figures as people read them: three significant digits, and never a thousand of a unit."""

from __future__ import annotations

import pytest

from deployprune.units import format_bytes, format_count, format_ms


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (195_000, "195 k"),
        (999_499, "999 k"),
        (999_999, "1.00 M"),
        (16_000_000, "16.0 M"),
        (1_234_000_000_000, "1234 G"),
    ],
)
def test_counts(count: int, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("size", "text"), [(812, "812 B"), (347_700, "347.7 kB"), (999_960, "1.0 MB"), (25e9, "25.0 GB")]
)
def test_sizes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("latency", "text"),
    [
        (0.0001, "0.0001 ms"),
        (0.0674, "0.0674 ms"),
        (0.14, "0.140 ms"),
        (30.12, "30.1 ms"),
        (9.999, "10.0 ms"),
        (0.9999, "1.00 ms"),
    ],
)
def test_latencies(latency: float, text: str) -> None:
    assert format_ms(latency) == text
