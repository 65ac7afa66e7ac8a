"""What this machine has to offer, to whoever measures on it."""

from __future__ import annotations

from deployprune.backends.devices.address import LOCAL
from deployprune.backends.registry import available_backends
from deployprune.host import describe_host, read_temperature
from deployprune.records import DeviceSurvey

__all__ = ["survey_here"]


def survey_here() -> DeviceSurvey:
    """This machine and its backends."""
    return DeviceSurvey(
        device=LOCAL, host=describe_host(), backends=available_backends(), temperature_c=read_temperature()
    )
