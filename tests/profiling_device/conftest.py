"""One short table for all tests of this room."""

from __future__ import annotations

import pytest
from made_up_tables import measured

from deployprune.device.records import DeviceTable


@pytest.fixture(scope="session")
def table() -> DeviceTable:
    """What the fake backend's law gives for three definitions at all widths."""
    return measured()
