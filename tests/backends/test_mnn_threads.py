"""MNN computes in as many threads as were asked for, however many wait in its pool."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_net import write_net

from deployprune.backends.base import Session
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.records import Target

TASKS = Path("/proc/self/task")
BUSY_NS = 2_000_000  # of a loop that takes at least ten times as much


def busy_threads(session: Session) -> int:
    """How many threads of this process computed while the session ran."""
    feeds = random_feeds(session.inputs, 0)
    session.run(feeds)
    before = used_ns()
    for _ in range(300):
        session.run(feeds)
    return sum(used - before.get(task, 0) > BUSY_NS for task, used in used_ns().items())


def used_ns() -> dict[str, int]:
    """CPU time of each thread so far."""
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in TASKS.iterdir()}


@pytest.mark.skipif(not TASKS.is_dir(), reason="reads Linux's /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_compute_as_were_asked_for(threads: int, tmp_path: Path) -> None:
    backend = get_backend("mnn")
    if not backend.availability().available:
        pytest.skip("mnn is not installed")
    path = write_net("mnn", tmp_path / "net", channels=64, batch=1)
    with backend.open(path, Target(backend="mnn", threads=threads)) as session:
        assert busy_threads(session) == threads
