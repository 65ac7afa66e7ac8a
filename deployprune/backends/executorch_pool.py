"""The one thread pool that ExecuTorch has in a process, and the sessions that compute in it."""

from __future__ import annotations

from types import ModuleType
from weakref import WeakSet

from deployprune.backends.base import Session
from deployprune.backends.silence import held_stderr
from deployprune.errors import UsageError

__all__ = ["join_pool", "leave_pool", "set_threads"]

_sessions: WeakSet[Session] = WeakSet()  # as global as the pool, which the runtime does not let us ask


def set_threads(runtime: ModuleType, threads: int) -> None:
    """Give the pool so many threads: a program keeps the pool that it was loaded with.

    Raises UsageError where open sessions use it with another number.
    """
    current = runtime._threadpool_get_thread_count()
    if current == threads:
        return
    if _sessions:
        raise UsageError(
            f"ExecuTorch has one thread pool a process, and open sessions use it with {current} threads, not {threads}",
            hint="close the other sessions first, or use the same number of threads",
        )
    with held_stderr():
        runtime._unsafe_reset_threadpool(threads)


def join_pool(session: Session) -> None:
    """Count ``session`` among those that use the pool, until it leaves or is gone."""
    _sessions.add(session)


def leave_pool(session: Session) -> None:
    """The session uses it no more; harmless when said twice."""
    _sessions.discard(session)
