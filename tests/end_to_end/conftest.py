"""One project, one finished run of it, and processes that start fast, for all tests of this room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_project import COMPRESS, make_project, only_run
from warm_process import PACKAGE, WarmProcess

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """This environment, in which the package and this room's modules are found from any folder."""
    return {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{Path(__file__).parent}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Command:
    """Run ``deployprune`` as users do."""

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "deployprune", *arguments]
        return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    """Runs ``deployprune`` without waiting for its imports."""
    with WarmProcess() as process:
        yield process


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and data. Tests that write there copy it."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def fresh_project(project: Path, tmp_path: Path) -> Path:
    """A copy of the project, without runs."""
    for file in project.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope="session")
def finished(project: Path, command: Command) -> subprocess.CompletedProcess[str]:
    """What the project's one undisturbed run said; with ``finished_run`` it is run when first asked for."""
    return command(*COMPRESS, "--json", cwd=project)


@pytest.fixture(scope="session")
def finished_run(project: Path, finished: subprocess.CompletedProcess[str]) -> Path:
    """The undisturbed run's directory."""
    assert finished.returncode == 0, finished.stderr
    return only_run(project)
