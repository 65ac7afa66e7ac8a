"""For all tests: helper modules in this folder can be imported, no runtime sends telemetry, the sittings of
a verification follow each other at once, and what tests start can be interrupted, even where the shell that runs them
in the background made them deaf to it."""

from __future__ import annotations

import os
import signal

from deployprune.backends.telemetry import forbid_telemetry

forbid_telemetry()
os.environ["DEPLOYPRUNE_VERIFICATION_APART_SECONDS"] = "0"
signal.signal(signal.SIGINT, signal.default_int_handler)
