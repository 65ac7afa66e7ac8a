"""Sweeps as the pipeline would record them, with figures made up."""

from __future__ import annotations

import deployprune.records as r

DENSE_MS = {"onnxruntime": 3.71, "openvino": 2.93}


def side(role: str, ratio: float, accuracy: float | None, size: int) -> r.SweepSide:
    """One file, timed to half a percent."""
    measured = None if accuracy is None else r.AccuracyResult(metric="top1", value=accuracy, examples=1000)
    interval = r.Ratio(value=ratio, low=ratio - 0.005, high=ratio + 0.005)
    return r.SweepSide(role=role, ratio=interval, accuracy=measured, size_bytes=size)


def point(
    speedup: float, ratio: float, accuracy: float | None, verdict: r.Verdict = r.Verdict.PASS, *, kept: float = 0.8
) -> r.SweepPoint:
    """One speed-up, reached on two backends; the second is a little faster than it has to be."""
    sides = {
        backend: (
            side("dense", 1.0, None if accuracy is None else 0.93, 1_100_000),
            side("candidate", ratio * extra, accuracy, round(1_100_000 / speedup**2)),
            side("unstructured", 0.998, None if accuracy is None else accuracy + 0.002, 1_100_000),
        )
        for backend, extra in (("onnxruntime", 1.0), ("openvino", 0.94))
    }
    targets = tuple(
        r.SweepTarget(
            target=r.Target(backend=backend), verdict=verdict, dense_ms=ms, goal=1 / speedup, sides=sides[backend]
        )
        for backend, ms in DENSE_MS.items()
    )
    return r.SweepPoint(speedup=speedup, run=f"{speedup:g}x", verdict=verdict, importance_kept=kept, targets=targets)


def record(*, measured: bool = True) -> r.SweepRecord:
    """Three speed-ups that are reached, and one that no widths reach."""
    figures = ((1.5, 0.655, 0.929, 0.95), (2.0, 0.488, 0.924, 0.82), (3.0, 0.329, 0.911, 0.6))
    points = [point(s, ratio, top1 if measured else None, kept=kept) for s, ratio, top1, kept in figures]
    refused = r.SweepPoint(speedup=9.0, run="9x", refusal="the target of 0.41 ms is below the floor of 0.52 ms")
    return r.SweepRecord(model="resnet20.pt", points=(*points, refused))
