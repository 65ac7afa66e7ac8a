"""ExecuTorch's event trace (ETDump) as node times.

Field numbers are those of ExecuTorch's ``etdump_schema_flatcc.fbs``; times are in ns on every system it runs Python on.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from deployprune.backends.executorch_file import operator_kind, read_operations
from deployprune.backends.flatbuffer import FlatTable, root_table
from deployprune.backends.typical import middle_mean
from deployprune.backends.xnnpack import name_nodes
from deployprune.records import NodeTime

__all__ = ["read_events"]

_INFERENCE = "Execute"
_NATIVE = "native_call_"  # a kernel of the runtime's own; what a delegate reports has a name in another field
_SIZE_PREFIX = 4
_NS_PER_MS = 1e6


def read_events(events: Path, model: Path, *, skip: int) -> tuple[NodeTime, ...]:
    """The kernels in ``events``, in the order they ran, without the first ``skip`` inferences of ``model``."""
    runs = [run for run in root_table(events.read_bytes(), _SIZE_PREFIX).tables(1) if run.text(0) == _INFERENCE]
    times: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for run in runs[skip:]:
        found = (event.table(0) for event in run.tables(3))
        kernels = [kernel for event in found if event is not None and (kernel := _kernel(event))]
        for position, (name, ns) in enumerate(kernels):
            times[position, name].append(ns)
    ms = [middle_mean(values) / _NS_PER_MS for values in times.values()]
    return name_nodes([name for _, name in times], ms, read_operations(model))


def _kernel(event: FlatTable) -> tuple[str, float] | None:
    """The name and ns of an event about a kernel; None for one about a whole call."""
    name, delegated = event.text(0), event.text(4)
    if not delegated and not name.startswith(_NATIVE):
        return None
    ns = float(event.number(7, "Uint64") - event.number(6, "Uint64"))
    return (delegated or operator_kind(name)), ns
