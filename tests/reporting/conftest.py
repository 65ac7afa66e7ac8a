"""The made-up run, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import made_up_run
import pytest

from deployprune.rundir import RunDirectory


@pytest.fixture
def finished_run(tmp_path: Path) -> RunDirectory:
    """A run with every record, figures made up."""
    return made_up_run.make_run(tmp_path / "runs")
