"""The program of a process that opens and times files for another on the same machine, told how on its input."""

from __future__ import annotations

from deployprune.backends.devices.agent import Agent
from deployprune.backends.devices.bootstrap import take_streams
from deployprune.backends.devices.serving import serve
from deployprune.backends.devices.store import ModelsInPlace

__all__ = ["work"]


class Shared:
    """This machine, which whoever started this process measures on already."""

    def take(self) -> None:
        """Nothing to wait for."""

    def release(self) -> None:
        """Nothing to let go."""


def work() -> None:
    """Answer calls until the input ends."""
    reader, writer = take_streams()
    serve(reader, writer, Agent(ModelsInPlace(), Shared()))


if __name__ == "__main__":
    work()
