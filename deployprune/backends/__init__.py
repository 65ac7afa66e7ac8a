"""Runtimes: one narrow protocol, one module a runtime, and a deterministic fake."""
