"""The README speaks of what is there: rooms, commands, tools and exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployprune.cli.main import COMMANDS
from deployprune.options import config_settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = sorted(
    path.name + "/" * path.is_dir()
    for path in (ROOT / "deployprune").iterdir()
    if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
)


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_in_the_code_organization(room: str) -> None:
    assert f"`{room}`" in README


@pytest.mark.parametrize("name", sorted(set(re.findall(r"tools/[a-z_]+", README))))
def test_every_tool_that_is_named_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_every_command_line_uses_commands_and_flags_that_exist() -> None:
    flags = {setting.flag for setting in config_settings()}
    more = {"--config", "--resume", "--format", "--output", "--json", "--quiet", "--debug", "--slow"}
    more |= {"--speedups", "--picture"}
    lines = re.findall(r"^deployprune (\w+)(.*)$", README, re.MULTILINE)
    assert lines
    for command, rest in lines:
        assert command in COMMANDS
        assert set(re.findall(r"--[a-z-]+", rest)) <= flags | more
