"""How near plans are to the optimum, and what table and solver buy over uniform widths and over planning by MACs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from latency_material import Conditions, make_bench, measure, print_rows, variants_of
from numpy.typing import NDArray

from deployprune.errors import UnsupportedModelError
from deployprune.pipeline.targets import target_key
from deployprune.profiling.fit import FittedLatency, fit_latency
from deployprune.profiling.nodes import FittedNode
from deployprune.profiling.terms import Term
from deployprune.pruning.importance import score
from deployprune.pruning.planner import plan_widths
from deployprune.records import Analysis

__all__ = ["print_optimality", "print_worth"]

_SHARES = (0.8, 0.6, 0.4)
_SEARCHES = 12


@dataclass(frozen=True)
class _Case:
    """A network with a measured model of its latency."""

    record: Analysis
    fitted: FittedLatency
    step: int
    importance: Mapping[str, NDArray[np.float64]]

    def kept(self, widths: Mapping[str, int]) -> float:
        """The share of the importance that widths keep, of every group the most important units."""
        whole = sum(float(values.sum()) for values in self.importance.values())
        return sum(float(np.sort(self.importance[name])[-width:].sum()) for name, width in widths.items()) / whole


def print_optimality(conditions: Conditions) -> None:
    """The planner's gap and seconds, at several budgets; brute force is compared with in tests/pruning."""
    print("### Gap of plans to the solver's bound\n")
    columns = ("model", "backend", "threads", "groups", "budget", "gap", "seconds", "importance kept")
    print_rows(columns, _optimality(conditions))


def _optimality(conditions: Conditions) -> Iterator[list[object]]:
    for name, case in _cases(conditions):
        for share in _SHARES:
            started = time.monotonic()
            limit = share * case.fitted.predict_ms(case.record.dense_widths())
            try:
                plan = plan_widths(
                    case.record.groups,
                    case.importance,
                    {"x": case.fitted},
                    {"x": (0.0, limit)},
                    channel_step=case.step,
                )
            except UnsupportedModelError as error:
                yield [*name, len(case.record.groups), f"{share:.0%}", error.message, "", ""]
                continue
            seconds = time.monotonic() - started
            kept = case.kept(plan.widths)
            yield [*name, len(case.record.groups), f"{share:.0%}", f"{plan.gap:.2%}", f"{seconds:.1f}", f"{kept:.1%}"]


def print_worth(conditions: Conditions) -> None:
    """Importance kept at equal predicted latency, and the share of the MACs' reduction that becomes speed."""
    print("### What the table and the solver buy, at equal latency\n")
    columns = ("model", "backend", "threads", "latency", "kept: table", "kept: by MACs", "kept: uniform", "realised")
    print_rows(columns, _worth(conditions))


def _worth(conditions: Conditions) -> Iterator[list[object]]:
    for name, case in _cases(conditions):
        for share in _SHARES:
            row = _compare_ways(case, share)
            if row is not None:
                yield [*name, f"{share:.0%}", *row]


def _compare_ways(case: _Case, share: float) -> list[str] | None:
    """What three ways of choosing widths keep at ``share`` of dense's latency, and the MACs' part that is realised."""
    dense = case.record.dense_widths()
    whole, macs = case.fitted.predict_ms(dense), _macs_model(case.record)
    most = macs.predict_ms(dense)
    best = _plan(case, case.fitted, share * whole)
    if best is None:
        return None
    by_macs = _search(case, share * whole, lambda part: _plan(case, macs, part * most))
    uniform = _search(case, share * whole, lambda part: _scaled(case, part))
    realised = (whole / case.fitted.predict_ms(best)) / (most / macs.predict_ms(best))
    kept = ["-" if widths is None else f"{case.kept(widths):.1%}" for widths in (best, by_macs, uniform)]
    return [*kept, f"{realised:.0%}"]


def _cases(conditions: Conditions) -> Iterator[tuple[tuple[str, str, int], _Case]]:
    for model, backend, threads in conditions.cases():
        bench = make_bench(model, backend, threads)
        with variants_of(bench, conditions.variants, 0) as variants:
            table = measure(variants, bench.targets[0], 0).table
        record = bench.analysis.record
        yield (
            (model, target_key(table.target), threads),
            _Case(
                record=record,
                fitted=fit_latency(table, record),
                step=table.channel_step,
                importance=score("l2", bench.module, record.groups),
            ),
        )


def _macs_model(record: Analysis) -> FittedLatency:
    """MACs in place of ms: every contraction costs its own."""
    nodes = []
    for layer in record.layers:
        if layer.contracts:
            forms = (*layer.output, *layer.reduced)
            scale = float(np.prod([form.constant for form in forms if not form.groups]))
            factors = tuple((form, 1) for form in forms if form.groups)
            nodes.append(FittedNode(name=layer.name, terms=(Term(coefficient=scale, factors=factors),)))
    return FittedLatency(nodes=tuple(node for node in nodes if node.groups), constant_ms=0.0)


def _plan(case: _Case, model: FittedLatency, limit: float) -> dict[str, int] | None:
    try:
        return plan_widths(
            case.record.groups,
            case.importance,
            {"x": model},
            {"x": (0.0, limit)},
            channel_step=case.step,
            time_limit_s=5.0,
        ).widths
    except UnsupportedModelError:
        return None


def _scaled(case: _Case, share: float) -> dict[str, int]:
    """All groups at the same share of their sizes, on their steps."""
    widths = {}
    for group in case.record.groups:
        step = group.aligned_step(case.step)
        widths[group.name] = max(step, round(share * group.size / step) * step)
    return widths


def _search(case: _Case, limit: float, make: Callable[[float], dict[str, int] | None]) -> dict[str, int] | None:
    """What ``make`` gives for the largest share whose latency is within the limit, by bisection."""
    low, high, best = 0.02, 1.0, None
    for _ in range(_SEARCHES):
        middle = (low + high) / 2
        widths = make(middle)
        if widths is not None and case.fitted.predict_ms(widths) <= limit:
            low, best = middle, widths
        else:
            low, high = (middle, high) if widths is None else (low, middle)
    return best
