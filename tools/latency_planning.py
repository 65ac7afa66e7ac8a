"""How near plans are to the optimum, and what table and solver buy over uniform widths and over planning by MACs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
from baselines import importance_kept, others_at_latency
from latency_material import Conditions, Subject, print_rows
from numpy.typing import NDArray
from timing import ratios_to_dense

from deployprune.backends.registry import backend_of
from deployprune.errors import UnsupportedModelError
from deployprune.pruning.importance import score
from deployprune.pruning.planner import plan_widths
from deployprune.records import Plan

__all__ = ["print_optimality", "print_worth"]

_SHARES = (0.8, 0.6, 0.4)
_NEARLY = 0.98  # of the budget: the low end of the plans that are compared
_SECONDS = 15.0
_WAYS = ("table", "macs", "uniform")

Importance = Mapping[str, NDArray[np.float64]]


def print_optimality(conditions: Conditions) -> None:
    """The planner's gap and seconds, at several budgets; brute force is compared with in tests/pruning."""
    print("### Gap of plans to the solver's bound\n")
    columns = ("model", "backend", "threads", "groups", "budget", "gap", "seconds", "importance kept")
    print_rows(columns, _optimality(conditions))


def _optimality(conditions: Conditions) -> Iterator[list[object]]:
    for case in conditions.cases:
        with conditions.subject(case) as subject:
            importance, dense_ms = _importance(subject), _dense_ms(subject)
            for share in _SHARES:
                cells = [*case.cells, len(subject.bench.groups), f"{share:.0%}"]
                started = time.monotonic()
                try:
                    plan = _plan(subject, importance, share * dense_ms, 0.0)
                except UnsupportedModelError as error:
                    yield [*cells, error.message, "", ""]
                    continue
                seconds = time.monotonic() - started
                kept = importance_kept(importance, plan.widths)
                yield [*cells, f"{plan.gap:.2%}", f"{seconds:.1f}", f"{kept:.1%}"]


def print_worth(conditions: Conditions) -> None:
    """What each way of choosing widths keeps at one predicted latency, what its file measured, and its speed."""
    print("### What the table and the solver buy, at equal latency\n")
    kept = [f"kept: {way}" for way in _WAYS]
    columns = ("model", "backend", "threads", "latency", *kept, "measured: " + ", ".join(_WAYS), "realised")
    print_rows(columns, _worth(conditions))


def _worth(conditions: Conditions) -> Iterator[list[object]]:
    for case in conditions.cases:
        with conditions.subject(case) as subject:
            for share in _SHARES:
                yield [*case.cells, f"{share:.0%}", *_compare_ways(subject, share)]


def _compare_ways(subject: Subject, share: float) -> list[str]:
    """What three ways of choosing widths keep at ``share`` of dense's latency, and the MACs' part that is realised.

    Realised is the plan's measured speed-up as a share of the factor by which its MACs went down.
    """
    record, importance = subject.bench.analysis.record, _importance(subject)
    limit = share * _dense_ms(subject)
    try:
        plan = _plan(subject, importance, limit, _NEARLY)
    except UnsupportedModelError as error:
        return [error.message, *[""] * (len(_WAYS) + 1)]
    step = subject.recording.table.channel_step
    others = others_at_latency(
        record, subject.bench.groups, importance, subject.fitted.predict_ms, limit, channel_step=step
    )
    ways = {"table": plan.widths, **others}
    ratios = _measure(subject, ways, share)
    realised = record.macs_at(plan.widths) / record.macs / ratios["table"]
    kept = [f"{importance_kept(importance, ways[way]):.1%}" for way in _WAYS]
    return [*kept, ", ".join(f"{ratios[way]:.3f}" for way in _WAYS), f"{realised:.0%}"]


def _measure(subject: Subject, ways: Mapping[str, dict[str, int]], share: float) -> dict[str, float]:
    """The measured latency of each way's file as a ratio to dense, all in the same rounds."""
    backend = backend_of(subject.target)
    files = {way: subject.variants.file(f"{way}-{share}", widths, backend) for way, widths in ways.items()}
    ratios = ratios_to_dense(subject.target, {"dense": subject.dense, **files}, _SECONDS)
    return {way: ratios[way].value for way in ways}


def _dense_ms(subject: Subject) -> float:
    """The predicted dense latency in ms."""
    return subject.fitted.predict_ms(subject.bench.analysis.record.dense_widths())


def _plan(subject: Subject, importance: Importance, limit: float, low: float) -> Plan:
    """The plan within ``limit`` ms of predicted latency, and above ``low`` of that."""
    return plan_widths(
        subject.bench.groups,
        importance,
        {"x": subject.fitted},
        {"x": (low * limit, limit)},
        channel_step=subject.recording.table.channel_step,
    )


def _importance(subject: Subject) -> Importance:
    return score("l2", subject.bench.module, subject.bench.groups)
