"""Native code that may print, crash or leave files, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from deployprune.errors import ExportError
from deployprune.processes import module_command, module_environment

__all__ = ["run_child", "run_module"]

_TIMEOUT_S = 900.0


def run_module(module: str, arguments: Sequence[str], *, folder: Path, what: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run a module of ours as a program; otherwise as :func:`run_child`."""
    return run_child([*module_command(module), *arguments], folder=folder, what=what, timeout_s=timeout_s)


def run_child(command: Sequence[str], *, folder: Path, what: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Run a program in ``folder`` and give all that it said.

    Raises ExportError when it fails, beginning with ``what`` ("pnnx cannot convert x.onnx") and ending with its last
    word.
    """
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            env=module_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise ExportError(f"{what}: it took more than {timeout_s:.0f} s", hint="choose another backend") from e
    if done.returncode:
        raise ExportError(
            f"{what}: {_reason(done.returncode, done.stdout)}",
            hint="rewrite the operation that it names in the model, or choose another backend",
        )
    return done.stdout


def _reason(code: int, said: str) -> str:
    words = said.strip().splitlines()[-1:]
    if code < 0:
        words.insert(0, f"it was killed by {signal.Signals(-code).name}")
    return "; ".join(words) or f"it ended with exit code {code}"
