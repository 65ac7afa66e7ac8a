"""Time between two measurements of the same thing, so that not both lie in one spell of the machine."""

from __future__ import annotations

import math
import time

__all__ = ["Pace"]


class Pace:
    """When the last sitting began, and so when the next may.

    On a shared machine others fill caches and memory for tens of seconds, which slows a large model more than a small
    one: their ratio is then off by more than the rounds of a sitting show, and two sittings in the same spell agree.
    """

    def __init__(self) -> None:
        self._began = -math.inf

    def begin(self, apart_s: float) -> None:
        """Wait until ``apart_s`` seconds after the last sitting began; the first may at once."""
        time.sleep(max(0.0, self._began + apart_s - time.monotonic()))
        self._began = time.monotonic()
