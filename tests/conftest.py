"""For all tests: helper modules in this folder can be imported, and no runtime sends telemetry."""

from __future__ import annotations

from deployprune.backends.telemetry import forbid_telemetry

forbid_telemetry()
