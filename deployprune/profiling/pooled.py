"""Time that no single node accounts for, spread over the analysis' layers by class of layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployprune.profiling.features import Term, layer_terms, misaligned
from deployprune.profiling.nodes import FittedNode, Samples
from deployprune.profiling.regression import cross_validated_error, fit_nonnegative
from deployprune.records import DimForm, LayerCost

__all__ = ["fit_layers", "layers_error"]

_FEWEST = 5  # runs off the alignment from which layers get rates of their own there


@dataclass(frozen=True, slots=True, kw_only=True)
class _Law:
    """Layers with their term and class, and how many channels the alignment has."""

    members: tuple[tuple[LayerCost, Term, str], ...]
    classes: tuple[str, ...]
    alignment: int

    def row(self, widths: dict[str, int]) -> list[float]:
        """One, then each class's work on the alignment, then each class's off it."""
        sums = dict.fromkeys([(name, off) for off in (False, True) for name in self.classes], 0.0)
        for _, term, name in self.members:
            sums[name, misaligned(_forms(term), widths, self.alignment)] += term.value(widths)
        return [1.0, *sums.values()]


def fit_layers(layers: Sequence[LayerCost], samples: Samples, *, step: int, work: bool) -> tuple[FittedNode, ...]:
    """Nodes that share ``samples.ms`` among the layers: a rate (ms an operation) for each class of layer.

    With ``work`` the classes are the kinds of contraction (dense, pointwise, depthwise, ...) and all other layers by
    the elements that they write; without it (layout reorders) only the elements written count. The first node is the
    constant. Rates are non-negative, with rates of their own for layers off the alignment of ``step`` channels.
    """
    law = _law(layers, samples, step, work=work)
    design = np.array([law.row(widths) for widths in samples.widths])
    solution = fit_nonnegative(design, np.maximum(samples.ms, 1e-3))
    count = len(law.classes)
    rates = dict(zip(law.classes, zip(solution[1 : count + 1], solution[count + 1 :], strict=True), strict=True))
    constant = Term(coefficient=float(solution[0]))
    nodes = [FittedNode(name=samples.name, aligned=(constant,), unaligned=(constant,), watched=())]
    for layer, term, name in law.members:
        aligned, unaligned = (float(rate) for rate in rates[name])
        if aligned or unaligned:
            nodes.append(
                FittedNode(
                    name=f"{samples.name}:{layer.name}",
                    aligned=(term.scaled(aligned),),
                    unaligned=(term.scaled(unaligned),),
                    watched=_forms(term),
                    alignment=law.alignment,
                )
            )
    return tuple(nodes)


def layers_error(layers: Sequence[LayerCost], samples: Samples, step: int) -> float:
    """The mean cross-validated relative error of :func:`fit_layers` (with ``work``) on the samples."""
    law = _law(layers, samples, step, work=True)
    design = np.array([law.row(widths) for widths in samples.widths])
    return float(np.abs(cross_validated_error(design, np.maximum(samples.ms, 1e-3))).mean())


def _law(layers: Sequence[LayerCost], samples: Samples, step: int, *, work: bool) -> _Law:
    members = tuple(
        (layer, term, _class(layer, work=work)) for layer in layers for term in _terms(layer, step, work=work)
    )
    off = sum(any(misaligned(_forms(term), widths, step) for _, term, _ in members) for widths in samples.widths)
    enough = _FEWEST <= off <= len(samples.widths) - _FEWEST
    classes = tuple(dict.fromkeys(name for _, _, name in members))
    return _Law(members=members, classes=classes, alignment=step if enough else 1)


def _terms(layer: LayerCost, step: int, *, work: bool) -> tuple[Term, ...]:
    return layer_terms(layer, step, contracting=work and layer.contracts)


def _class(layer: LayerCost, *, work: bool) -> str:
    """``elements`` for what only moves data; for a contraction its operator, and what it sums over."""
    if not (work and layer.contracts):
        return "elements"
    window = any(not form.groups and form.constant > 1 for form in layer.reduced[1:])
    depth = "dense" if any(form.groups for form in layer.reduced) else "shallow"
    return f"{layer.op} {depth} {'window' if window else 'point'}"


def _forms(term: Term) -> tuple[DimForm, ...]:
    return tuple(form for form, _ in term.factors)
