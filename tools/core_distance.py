"""How far two cores are from each other: those of a virtual machine move together and apart, and threads with them."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np

__all__ = ["describe_distance"]

_ROUND_TRIPS = 5_000
_SAMPLES, _APART_S = 50, 0.3
_END = -1


def describe_distance() -> str:
    """A line on how long a number takes from one core to the next and back, over a quarter of a minute."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return "one core"
    found = _round_trips_us(*cores[:2])
    least, middle, most = np.percentile(found, (5, 50, 95))
    return f"core to core and back, seen from Python: {least:.2f} to {most:.2f} us, median {middle:.2f}"


def _round_trips_us(first: int, second: int) -> list[float]:
    cell = multiprocessing.RawArray("q", 1)
    other = multiprocessing.get_context("spawn").Process(target=_answer, args=(cell, second), daemon=True)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {first})
    other.start()
    try:
        _ask(cell, 1)
        return [_sample(cell) for _ in range(_SAMPLES)]
    finally:
        cell[0] = _END
        other.join()
        os.sched_setaffinity(0, allowed)


def _sample(cell: object) -> float:
    time.sleep(_APART_S)
    started = time.perf_counter()
    _ask(cell, _ROUND_TRIPS)
    return (time.perf_counter() - started) / _ROUND_TRIPS * 1e6


def _ask(cell: object, times: int) -> None:
    line = memoryview(cell).cast("B").cast("q")
    for _ in range(times):
        line[0] = 1
        while line[0]:
            pass


def _answer(cell: object, core: int) -> None:
    os.sched_setaffinity(0, {core})
    line = memoryview(cell).cast("B").cast("q")
    while (value := line[0]) != _END:
        if value:
            line[0] = 0
