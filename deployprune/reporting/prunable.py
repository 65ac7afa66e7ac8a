"""What of a model can be pruned, what cannot and why, in words."""

from __future__ import annotations

from collections.abc import Sequence

from deployprune.records import Analysis, Frozen, Proof
from deployprune.units import format_count, format_share

__all__ = [
    "GROUP_COLUMNS",
    "SHARE_NOTE",
    "analysis_lines",
    "frozen_lines",
    "group_rows",
    "held_lines",
    "product_lines",
    "product_words",
    "summary_line",
]

GROUP_COLUMNS = ("group", "kind", "units", "layers", "parameters", "MACs")
SHARE_NOTE = "shares are of what goes with the whole group: a weight between two groups counts in both"
_MOST_NAMES, _MOST_PLACES = 6, 3


def analysis_lines(analysis: Analysis) -> tuple[str, ...]:
    """How much of the model can be pruned, and what no rule covers."""
    return (summary_line(analysis), *frozen_lines(analysis.frozen))


def product_lines(analysis: Analysis) -> tuple[str, ...]:
    """What of the user's own code a trial plan over all groups left in the pruned model; none where none was tried."""
    return () if analysis.product is None else (f"{product_words(analysis)}, on a trial plan over all groups",)


def summary_line(analysis: Analysis) -> str:
    """How much of the model can be pruned."""
    parameters = format_share(analysis.prunable_parameters / max(analysis.parameters, 1))
    macs = format_share(analysis.prunable_macs / max(analysis.macs, 1))
    return (
        f"{len(analysis.groups)} channel groups hold {parameters} of {format_count(analysis.parameters)} parameters "
        f"and {macs} of {format_count(analysis.macs)} MACs"
    )


def frozen_lines(frozen: Sequence[Frozen]) -> tuple[str, ...]:
    """What cannot be pruned: the operation, where it stands, why, and what it keeps; like things on one line."""
    alike: dict[tuple[str, str], list[Frozen]] = {}
    for item in frozen:
        alike.setdefault((item.op, item.reason), []).append(item)
    return tuple(_frozen_line(op, reason, items) for (op, reason), items in alike.items())


def _frozen_line(op: str, reason: str, items: Sequence[Frozen]) -> str:
    places = tuple(dict.fromkeys(item.location for item in items if item.location))
    kept = tuple(dict.fromkeys(name for item in items for name in item.parameters))
    where = f" at {_listed(places, _MOST_PLACES)}" if places else ""
    return f"frozen by {op}{where}: {reason}" + (f"; keeps {_listed(kept)} whole" if kept else "")


def held_lines(held: Sequence[Frozen]) -> tuple[str, ...]:
    """Parameters whose outputs all stay, and what they stay for."""
    return tuple(
        f"{_listed(item.parameters)}: {f'{item.op} at {item.location}: ' if item.location else ''}{item.reason}"
        for item in held
    )


def group_rows(analysis: Analysis) -> tuple[tuple[str, ...], ...]:
    """One row a channel group, in the order of :data:`GROUP_COLUMNS`."""
    return tuple(
        (
            group.name,
            group.kind,
            str(group.size),
            str(len({axis.parameter.rpartition(".")[0] for axis in group.axes})),
            f"{format_count(group.parameters)}  {format_share(group.parameters / max(analysis.parameters, 1))}",
            f"{format_count(group.macs)}  {format_share(group.macs / max(analysis.macs, 1))}",
        )
        for group in analysis.groups
    )


def product_words(found: Proof | Analysis) -> str:
    """What the pruned model is: the user's own module, with how many of its parts as graphs, or the captured graph."""
    if found.product == "graph":
        return "the captured graph in place of your own class"
    if found.product == "eager":
        return "your own module, smaller"
    return f"your own module, smaller, {len(found.grafted)} of its modules as graphs: {', '.join(found.grafted)}"


def _listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
