"""Waiting for a device that slows itself down because it is hot."""

from __future__ import annotations

import time

from deployprune.errors import DeviceError
from deployprune.host import overheated

__all__ = ["let_cool"]

_COOL_S = 90.0
_COOL_STEP_S = 3.0


def let_cool() -> None:
    """Wait while the device says that it slows itself down. Raises DeviceError when that does not end."""
    deadline = time.monotonic() + _COOL_S
    while (found := overheated()) is not None:
        if time.monotonic() > deadline:
            temperature, limit = found
            raise DeviceError(
                f"the device is too hot to measure on: {temperature:.0f} °C, and it slows down from {limit:.0f} °C",
                hint="let it cool or give it air; a run goes on with --resume",
            )
        time.sleep(_COOL_STEP_S)
