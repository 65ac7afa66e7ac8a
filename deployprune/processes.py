"""Which of the processes this is that ``torchrun`` or ``accelerate launch`` started: they say so in the environment."""

from __future__ import annotations

import os

__all__ = ["is_assistant", "process_count"]


def process_count() -> int:
    """How many processes work on the same thing; 1 for a process started on its own."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_assistant() -> bool:
    """Whether another process is the main one, and this one only helps where work can be shared."""
    return process_count() > 1 and int(os.environ.get("RANK", "0")) > 0
