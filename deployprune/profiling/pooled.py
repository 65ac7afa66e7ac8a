"""Time that no single node accounts for, spread over the analysis' layers by class of layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deployprune.profiling.layers import border_terms, element_terms, join_terms, work_terms
from deployprune.profiling.nodes import FittedNode, Samples
from deployprune.profiling.regression import cross_validated_error, fit_nonnegative
from deployprune.profiling.terms import CONSTANT, Condition, Sizes, Term
from deployprune.records import LayerCost

__all__ = ["fit_layers", "fit_leftover", "layers_error"]

_FEWEST = 5  # runs off the alignment from which layers get rates of their own there
_ALIGNMENT = 4  # channels: what layout reorders are paid for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A layer's term, and the class that shares its rate."""

    layer: str
    kind: str
    term: Term


def fit_layers(layers: Sequence[LayerCost], samples: Samples, step: int) -> tuple[FittedNode, ...]:
    """Nodes that share ``samples.ms`` among the layers: a rate (ms an operation) for each class of layer.

    The classes are the kinds of contraction (dense, pointwise, depthwise, ...) and all other layers by the elements
    that they write. The first node is the constant. Rates are non-negative, with rates of their own for layers off the
    alignment of ``step`` channels.
    """
    return _fit(_work_members(layers, samples.sizes, step), samples)


def fit_leftover(layers: Sequence[LayerCost], samples: Samples, step: int) -> tuple[FittedNode, ...]:
    """:func:`fit_layers` for time that is no layer's own but goes into reordering what layers hand on.

    The classes are the elements that layers write, on an alignment and off it, those at the border between aligned and
    other channels, and by operation those of joins that cannot be made in whole blocks of ``step`` channels.
    """
    plain = [_Member(layer=layer.name, kind="elements", term=term) for layer in layers for term in element_terms(layer)]
    members = _apart(plain, samples.sizes, min(step, _ALIGNMENT))
    if step > 1:
        borders = ((layer, "border", border_terms(layer, min(step, _ALIGNMENT))) for layer in layers)
        joins = ((layer, f"{layer.op} off block", join_terms(layer, step)) for layer in layers)
        members += [
            _Member(layer=layer.name, kind=kind, term=term)
            for layer, kind, terms in (*borders, *joins)
            for term in terms
        ]
    return _fit(members, samples)


def layers_error(layers: Sequence[LayerCost], samples: Samples, step: int) -> float:
    """The mean cross-validated relative error of :func:`fit_layers` on the samples."""
    members = _work_members(layers, samples.sizes, step)
    errors = cross_validated_error(_design(members, samples.sizes), samples.observed, samples.precision)
    return float(np.average(np.abs(errors), weights=samples.precision))


def _fit(members: Sequence[_Member], samples: Samples) -> tuple[FittedNode, ...]:
    solution = fit_nonnegative(_design(members, samples.sizes), samples.observed, precision=samples.precision)
    rates = dict(zip(_classes(members), solution[1:].tolist(), strict=True))
    nodes = [FittedNode(name=samples.name, terms=(CONSTANT.scaled(float(solution[0])),))]
    for name in dict.fromkeys(member.layer for member in members):
        terms = [member.term.scaled(rates[member.kind]) for member in members if member.layer == name]
        if any(term.coefficient for term in terms):
            nodes.append(FittedNode(name=f"{samples.name}:{name}", terms=tuple(t for t in terms if t.coefficient)))
    return tuple(nodes)


def _work_members(layers: Sequence[LayerCost], sizes: Sizes, step: int) -> list[_Member]:
    members = [
        _Member(layer=layer.name, kind=_class(layer), term=term) for layer in layers for term in work_terms(layer, step)
    ]
    return _apart(members, sizes, step)


def _apart(members: list[_Member], sizes: Sizes, step: int) -> list[_Member]:
    """The members, with classes of their own off the alignment of ``step`` where there are runs to learn them from."""
    off = np.zeros(len(sizes.widths), dtype=bool)
    for member in members:
        off |= sizes.holds(_off(member.term, step))
    if step == 1 or min(off.sum(), (~off).sum()) < _FEWEST:
        return members
    return [part for member in members for part in _parted(member, step)]


def _parted(member: _Member, step: int) -> tuple[_Member, _Member]:
    """The layer on the alignment, and off it, where its class has another rate."""
    off = _off(member.term, step)
    return (
        replace(member, term=replace(member.term, when=replace(off, off=False))),
        replace(member, kind=f"{member.kind} off", term=replace(member.term, when=off)),
    )


def _off(term: Term, step: int) -> Condition:
    return Condition(forms=term.forms, alignment=step, off=True)


def _design(members: Sequence[_Member], sizes: Sizes) -> NDArray[np.float64]:
    """One, then the sum of each class's terms."""
    kinds = np.array([member.kind for member in members])
    terms = sizes.design([member.term for member in members])
    sums = [terms[:, kinds == kind].sum(axis=1) for kind in _classes(members)]
    return np.column_stack([np.ones(len(sizes.widths)), *sums])


def _classes(members: Sequence[_Member]) -> list[str]:
    return list(dict.fromkeys(member.kind for member in members))


def _class(layer: LayerCost) -> str:
    """``elements`` for what only moves data; for a contraction its operator, and what it sums over."""
    if not layer.contracts:
        return "elements"
    window = any(not form.groups and form.constant > 1 for form in layer.reduced[1:])
    depth = "dense" if any(form.groups for form in layer.reduced) else "shallow"
    return f"{layer.op} {depth} {'window' if window else 'point'}"
