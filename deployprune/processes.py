"""Which of the processes this is that ``torchrun`` or ``accelerate launch`` started, and how others of ours start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["is_assistant", "module_command", "module_environment", "process_count"]

_ROOT = str(Path(__file__).parents[1])


def process_count() -> int:
    """How many processes work on the same thing; 1 for a process started on its own."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_assistant() -> bool:
    """Whether another process is the main one, and this one only helps where work can be shared."""
    return process_count() > 1 and int(os.environ.get("RANK", "0")) > 0


def module_command(module: str) -> list[str]:
    """The command that runs a module of ours as a program, with this Python."""
    return [sys.executable, "-P", "-m", module]


def module_environment() -> dict[str, str]:
    """This process's environment, where new ones import this deployprune and not one from where they are started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))}
