"""What an operation of the analysis may cost, and where blocked layouts make it dearer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployprune.profiling.terms import Condition, Term, products, stairs
from deployprune.records import DimForm, LayerCost

__all__ = ["border_terms", "element_terms", "join_terms", "off_terms", "weight_terms", "work_terms"]


def element_terms(layer: LayerCost) -> tuple[Term, ...]:
    """The elements that an operation of the analysis writes."""
    return products((stairs(layer.output, 1),))


def work_terms(layer: LayerCost, step: int) -> tuple[Term, ...]:
    """Its work (MACs) where it contracts, else the elements that it writes, on steps of ``step`` channels."""
    shape = (*layer.output, *layer.reduced) if layer.contracts else layer.output
    return products((stairs(shape, step),))


def border_terms(layer: LayerCost, alignment: int) -> tuple[Term, ...]:
    """The elements of the side of a contraction that is aligned, where the other is not: blocked layouts end there, and
    what is in them has to be reordered."""
    if not (layer.contracts and layer.inputs):
        return ()
    sides = (layer.inputs[0], layer.output)
    return tuple(
        replace(term, when=Condition(forms=other, alignment=alignment, off=True, beside=own))
        for side, across in (sides, sides[::-1])
        for own, other in [(_moving(side), _moving(across))]
        if own and other
        for term in products((stairs(side, 1),))
    )


def join_terms(layer: LayerCost, block: int) -> tuple[Term, ...]:
    """The elements that a layer of several operands writes, where one of these is no whole number of blocks: operands
    cannot be joined block by block then (the concatenations of a DenseNet)."""
    forms = tuple(dict.fromkeys(form for shape in layer.inputs for form in _moving(shape)))
    if layer.contracts or len(layer.inputs) < 2 or not forms:
        return ()
    when = Condition(forms=forms, alignment=block, off=True)
    return tuple(replace(term, when=when) for term in products((stairs(layer.output, 1),)))


def off_terms(layer: LayerCost, step: int) -> tuple[Term, ...]:
    """The elements that an operation writes, where what it reads, sums over or writes is no multiple of ``step``
    channels: what it hands on is then not in whole vectors, which the layers around it pay for."""
    read = layer.inputs[0] if layer.inputs else ()
    forms = tuple(dict.fromkeys(form for shape in (layer.output, layer.reduced, read) for form in _moving(shape)))
    if step == 1 or not forms:
        return ()
    when = Condition(forms=forms, alignment=step, off=True)
    return tuple(replace(term, when=when) for term in element_terms(layer))


def weight_terms(layer: LayerCost) -> tuple[Term, ...]:
    """The elements of a contraction's second operand: weights that a whole run reads once, cached or not."""
    return products((stairs(layer.inputs[1], 1),)) if layer.contracts and len(layer.inputs) > 1 else ()


def _moving(shape: Sequence[DimForm]) -> tuple[DimForm, ...]:
    return tuple(form for form in shape if form.groups)
