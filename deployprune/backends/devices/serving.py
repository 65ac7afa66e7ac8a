"""The device's side: answers calls, frame by frame, until its input ends.

It runs in the device's own Python, from a zip that :mod:`deployprune.backends.devices.bootstrap` put there.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import IO, Any

from deployprune.backends.devices.agent import Agent, Answer
from deployprune.backends.devices.wire import FrameError, read_frame, write_frame
from deployprune.backends.telemetry import forbid_telemetry
from deployprune.errors import BackendUnavailableError, DeployPruneError, DeviceError

__all__ = ["serve"]


def serve(reader: IO[bytes], writer: IO[bytes], agent: Agent) -> None:
    """Answer calls until ``reader`` ends or nobody listens any more; then the agent is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the other side's to handle: it closes the input
    forbid_telemetry()
    try:
        while True:
            message, blocks = read_frame(reader)
            result, back = _answer(agent, message, blocks)
            write_frame(writer, result, back)
    except (FrameError, OSError):
        return
    finally:
        agent.close()


def _answer(agent: Agent, message: Mapping[str, Any], blocks: list[bytes]) -> Answer:
    try:
        result, back = agent.answer(str(message["call"]), message["arguments"], blocks)
    except DeployPruneError as error:
        return {"error": type(error).__name__, "text": error.message, "hint": error.hint}, []
    except ImportError as error:
        hint = f"pip install {(error.name or 'numpy').partition('.')[0]}"
        return {"error": BackendUnavailableError.__name__, "text": str(error), "hint": hint}, []
    except Exception as error:  # a foreign runtime's: it must not end the agent
        return {"error": DeviceError.__name__, "text": f"{type(error).__name__}: {error}", "hint": None}, []
    return {"result": result}, back
