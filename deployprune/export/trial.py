"""One inference of a new file in a process of its own: a runtime that crashes on it must not take ours along.

Also the program of that process: ``python -m deployprune.export.trial BACKEND PATH BATCH``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import require_backend
from deployprune.errors import DeployPruneError
from deployprune.export.child import run_module
from deployprune.records import Target

__all__ = ["require_runnable"]

_TIMEOUT_S = 120.0  # some files keep their runtime busy for ever


def require_runnable(backend_name: str, path: Path, batch: int) -> None:
    """Raise ExportError unless the backend opens ``path`` and runs it once; parity says whether it is right."""
    run_module(
        "deployprune.export.trial",
        [backend_name, str(path.resolve()), str(batch)],
        folder=path.parent,
        what=f"{backend_name} cannot run {path.name} as it was converted",
        timeout_s=_TIMEOUT_S,
    )


def _run_once(backend_name: str, path: Path, batch: int) -> None:
    with require_backend(backend_name).open(path, Target(backend=backend_name, batch=batch)) as session:
        session.run(random_feeds(session.inputs, seed=0))


if __name__ == "__main__":
    try:
        _run_once(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except DeployPruneError as error:
        sys.exit(error.message)
