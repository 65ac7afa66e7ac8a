"""What may be imported without what: the commands that only read must start at once, on a machine without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import deployprune

PACKAGE = Path(deployprune.__file__).parent
HEAVY = {"accelerate", "onnx", "onnxruntime", "onnxsim", "openvino", "scipy", "torch", "transformers"}
LIGHT_ROOMS = ("cli", "reporting")
RUN = """
import sys
from deployprune.cli.main import main
sys.argv = ["deployprune", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def light_modules() -> list[str]:
    """Every module that stands directly in the package, but those above the pipeline, and the rooms that only read."""
    files = [file for file in PACKAGE.glob("*.py") if file.stem not in ("__init__", "__main__", "api", "demo")]
    files += [file for room in LIGHT_ROOMS for file in (PACKAGE / room).rglob("*.py")]
    names = [".".join(("deployprune", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in sorted(files)]
    return [name.removesuffix(".__init__") for name in names]


def python(program: str) -> str:
    """What ``program`` prints in a fresh interpreter."""
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(program: str) -> set[str]:
    """The heavy packages that ``program`` leaves loaded."""
    printed = python(f"{program}\nimport sys; print('loaded:', *sys.modules)")  # the program may print words of its own
    return HEAVY & set(printed.rpartition("loaded:")[2].split())


def test_the_check_sees_a_heavy_import() -> None:
    assert "onnx" in loaded_after("import deployprune.export.denormals")


def test_modules_that_only_read_import_no_heavy_package() -> None:
    modules = light_modules()
    assert {"deployprune.cli.main", "deployprune.codec", "deployprune.stats", "deployprune.host"} <= set(modules)
    if loaded_after(f"import {', '.join(modules)}"):  # one process when all is well, then one each to say which
        assert {name: heavy for name in modules if (heavy := loaded_after(f"import {name}"))} == {}


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["compress", "--help"], ["--version"]])
def test_help_imports_no_heavy_package(arguments: list[str]) -> None:
    assert loaded_after(RUN.format(arguments=arguments)) == set()


def test_importing_the_library_imports_no_heavy_package() -> None:
    assert loaded_after("import deployprune") == set()
