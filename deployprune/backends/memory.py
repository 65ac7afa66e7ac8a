"""Peak memory of opening and running one file, in a process that does nothing else.

Also the program of that process: ``python -m deployprune.backends.memory PATH TARGET``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import require_backend
from deployprune.errors import ExportError
from deployprune.processes import module_command, module_environment
from deployprune.records import Target

__all__ = ["peak_memory_bytes"]

_PROGRAM = "deployprune.backends.memory"
_STATUS = Path("/proc/self/status")
_RUNS = 3
_TIMEOUT_S = 300


def peak_memory_bytes(path: Path, target: Target) -> int:
    """Bytes that opening ``path`` and running it a few times adds at its highest to a process with the runtime loaded.

    Python and the runtime's own code, the same for every file, are not in it. Raises ExportError when the process
    fails, with what it said.
    """
    arguments = [str(path), json.dumps(asdict(target))]
    try:
        done = subprocess.run(  # noqa: S603
            [*module_command(_PROGRAM), *arguments],
            env=module_environment(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        return int(done.stdout)
    except subprocess.CalledProcessError as e:
        said = e.stderr.strip().splitlines()[-1:] or [f"exit code {e.returncode}"]
        raise ExportError(
            f"{path} could not be run to measure its memory: {said[0]}", hint="open the file alone"
        ) from e
    except subprocess.TimeoutExpired as e:
        raise ExportError(f"{path} did not run within {_TIMEOUT_S} s", hint="open the file alone") from e


def _added_peak(path: Path, target: Target) -> int:
    """The same, of this process: call it once, first thing."""
    backend = require_backend(target.backend)
    backend.load()
    before = _resident("VmRSS", "rss")
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
        for _ in range(_RUNS):
            session.run(feeds)
        return max(_resident("VmHWM", "peak_wset") - before, 0)


def _resident(field: str, elsewhere: str) -> int:
    """Resident bytes of this process by a field of Linux's status, or where there is none by one of psutil's.

    ``VmHWM`` and not ``ru_maxrss`` for the highest, which a new process inherits from the one that started it.
    """
    if _STATUS.is_file():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
        return int(line.split()[1]) * 1024
    import psutil

    info = psutil.Process().memory_info()
    return int(getattr(info, elsewhere, info.rss))


if __name__ == "__main__":
    sys.stdout.write(str(_added_peak(Path(sys.argv[1]), Target(**json.loads(sys.argv[2])))))
