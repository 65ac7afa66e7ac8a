"""The door of the graph layer: analyse a module once, then prune it as often as wanted, each time with proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import fx, nn

from deployprune.errors import ParityError, UnsupportedModelError, UsageError
from deployprune.graph.branches import Branch, find_branches
from deployprune.graph.calls import Calls, find_calls
from deployprune.graph.capture import capture
from deployprune.graph.fitting import fit_module, refit
from deployprune.graph.following import Following, find_following
from deployprune.graph.grouping import GroupedUnits, describe, group_units
from deployprune.graph.labelled import LabelledGraph
from deployprune.graph.proof import TOLERANCE, prove
from deployprune.graph.propagate import propagate
from deployprune.graph.remedies import Remedy
from deployprune.graph.removal import Removal, close_removal, kept_parameters
from deployprune.graph.shrink import Attributes, has_tensor, shrink
from deployprune.graph.surgery import prune_graph
from deployprune.graph.tying import names_within, tie_groups
from deployprune.graph.unread import label_unread
from deployprune.records import Analysis, Proof

__all__ = ["GraphAnalysis", "PrunedModel", "analyze"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedModel:
    """A pruned model and why it may be trusted.

    ``module`` is callable like the original: the user's own class where it could be shrunk (some of its modules may be
    grafts), else the captured graph; ``proof.product`` says which. ``kept`` is
    ``{parameter name: {dim: kept indices}}``, ``widths`` the units left per group, ``attributes`` the sizes that were
    changed on the user's modules.
    """

    module: nn.Module
    kept: dict[str, dict[int, tuple[int, ...]]]
    attributes: Attributes
    widths: dict[str, int]
    proof: Proof


@dataclass(frozen=True, slots=True)
class GraphAnalysis:
    """A labelled model: ``record`` is the plain description, :meth:`prune` the way to smaller models."""

    module: nn.Module
    graph: LabelledGraph
    units: GroupedUnits
    calls: Calls
    record: Analysis

    def removal(self, kept: Mapping[str, Sequence[int]]) -> Removal:
        """The removal that leaves the units of these indices in each group (groups not named stay whole).

        Raises UsageError for an unknown group or for a choice that leaves a tensor empty.
        """
        known = {group.name for group in self.record.groups}
        for name in kept:
            if name not in known:
                raise UsageError(f"no channel group is called {name!r}", hint="list them with `deployprune inspect`")
        skipped = self._skipped(kept)
        gone: set[int] = set()
        for name, indices in kept.items():
            stay = set(indices)
            if stay:
                units = (unit for index, unit in enumerate(self.units[name]) if index not in stay)
                gone.update(atom for unit in units for atom in unit.atoms)
        removal = close_removal(self.graph, gone, skipped)
        if removal is None:
            raise UsageError("this choice of units leaves a tensor without channels", hint="keep at least one unit")
        return removal

    def _skipped(self, kept: Mapping[str, Sequence[int]]) -> tuple[Branch, ...]:
        """The branches of which no unit stays. Raises UsageError for an empty group that is not such a branch."""
        empty = {name for name, indices in kept.items() if not indices}
        of = {group.name: group.branch for group in self.record.groups}
        names = {of[name] for name in empty if of[name] is not None}
        for name in empty:
            rest = sorted(other for other, branch in of.items() if branch == of[name] and other not in empty)
            if of[name] is None or rest:
                raise UsageError(
                    f"no unit of {name!r} would stay" + (f", but some of {', '.join(rest)}" if of[name] else ""),
                    hint="keep at least one unit; only a residual branch can go, with all of its groups at once",
                )
        return tuple(branch for branch in find_branches(self.graph) if branch.name in names) if names else ()

    def prune(self, kept: Mapping[str, Sequence[int]], *, trials: int = 2, seed: int = 0) -> PrunedModel:
        """Remove all units but those of ``kept``, and prove the result.

        Raises ParityError when the pruned model differs from the masked twin: a mistake in a rule, never shipped.
        """
        removal = self.removal(kept)
        pruned = prune_graph(removal)
        fit = fit_module(self.module, removal, pruned, self.calls)
        proof = prove(removal, pruned, fit.module, trials=trials, seed=seed)
        if not proof.relative_difference <= TOLERANCE:
            raise ParityError(
                f"the pruned model differs from its masked twin by {proof.relative_difference:.1e} "
                f"(limit {TOLERANCE:.0e})",
                hint="this is a mistake in deployprune, not in your model: please report it; "
                "`ignore` can leave the group out",
            )
        widths = {group.name: len(set(kept.get(group.name, range(group.size)))) for group in self.record.groups}
        product = pruned if fit.module is None else fit.module
        return PrunedModel(
            module=product,
            kept={name: dims for name, dims in kept_parameters(removal).items() if has_tensor(product, name)},
            attributes=fit.attributes,
            widths=widths,
            proof=replace(proof, product=fit.product, grafted=fit.grafted),
        )

    def rebuild(
        self,
        kept: Mapping[str, Sequence[int]],
        product: str,
        attributes: Attributes | None = None,
        grafted: Sequence[str] = (),
    ) -> nn.Module:
        """The pruned model again, without proof: for loading weights that were saved from a proven one.

        ``product``, ``attributes`` and ``grafted`` are what :meth:`prune` found, and its records hold.
        """
        removal = self.removal(kept)
        pruned = prune_graph(removal)
        if product == "graph":
            return pruned
        small, stock = shrink(self.module, removal, pruned)
        return refit(small, attributes or stock, grafted, pruned, self.calls)

    def prune_shapes(self, kept: Mapping[str, Sequence[int]]) -> fx.GraphModule:
        """The pruned graph alone, without proof: for timing a variant, never for shipping."""
        return prune_graph(self.removal(kept))


def analyze(module: nn.Module, inputs: tuple[Any, ...], *, ignore: Sequence[str] = ()) -> GraphAnalysis:
    """Capture ``module`` on example ``inputs`` (dimension 0 is the batch), label it and find its channel groups.

    Raises UnsupportedModelError where the model cannot be captured, or has nothing that can be pruned.
    """
    graph = propagate(capture(module, inputs))
    label_unread(module, graph)
    units = group_units(graph)
    record = describe(graph, units, ignore=ignore)
    calls = Calls() if isinstance(module, fx.GraphModule) else find_calls(module, graph.captured)
    following = find_following(module, graph, units, record.groups, calls) if calls.first else Following()
    left_out = following.remedy.left_out
    if following.remedy.ties:
        graph = tie_groups(graph, units, following.remedy.ties)
        lost = [unit for name in left_out for unit in units[name]]
        units = group_units(graph)
        left_out = names_within(graph, units, lost)
    if following.remedy != Remedy():
        record = describe(graph, units, ignore=ignore, left_out=left_out)
    record = replace(record, product=following.product, grafted=following.grafted)
    if not record.groups:
        reasons = "; ".join(f"{item.op} at {item.location}" for item in record.frozen[:3])
        raise UnsupportedModelError(
            "nothing in this model can be pruned" + (f": frozen by {reasons}" if reasons else ""),
            hint="`deployprune inspect` lists what is frozen and why",
        )
    return GraphAnalysis(module, graph, units, calls, record)
