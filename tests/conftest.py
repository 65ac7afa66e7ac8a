"""For all tests: helper modules in this folder can be imported, no runtime sends telemetry, and what tests start can be
interrupted, even where the shell that runs them in the background made them deaf to it."""

from __future__ import annotations

import signal

from deployprune.backends.telemetry import forbid_telemetry

forbid_telemetry()
signal.signal(signal.SIGINT, signal.default_int_handler)
