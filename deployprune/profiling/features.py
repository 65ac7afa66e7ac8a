"""What a node's time may be made of: constants, work and traffic as products of its dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployprune.profiling.matching import MatchedNode
from deployprune.records import DimForm, LayerCost

__all__ = ["CONSTANT", "Term", "layer_terms", "misaligned", "node_terms", "weight_terms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """``coefficient * product(factors)``, each factor rounded up to its step in channels: a staircase."""

    coefficient: float = 1.0
    factors: tuple[tuple[DimForm, int], ...] = ()

    def value(self, widths: dict[str, int]) -> float:
        """The term at these widths."""
        total = self.coefficient
        for form, step in self.factors:
            total *= -(-form.size(widths) // step) * step
        return total

    def scaled(self, factor: float) -> Term:
        """The term times ``factor``."""
        return replace(self, coefficient=self.coefficient * factor)


CONSTANT = Term()


def misaligned(forms: Sequence[DimForm], widths: dict[str, int], alignment: int) -> bool:
    """Whether any of these dimensions is no multiple of ``alignment`` channels."""
    return alignment > 1 and any(form.size(widths) % alignment for form in forms)


def node_terms(node: MatchedNode, layers: Sequence[LayerCost], output_step: int, input_step: int) -> tuple[Term, ...]:
    """The node's constant, work (MACs, where it contracts), the work's square, and the elements it reads and writes.

    Kernels pad what they write to ``output_step`` channels, and some also what they sum over, to ``input_step``. The
    square is the part that grows faster than the work: weights that no longer fit the caches.
    """
    written, summed = _steps(node.output, output_step), _steps(_reduced(node, layers), input_step)
    read = _steps(node.inputs[0], input_step) if node.inputs else ()
    work = (*written, *summed)
    if "transpose" in node.operator or "backprop" in node.operator:
        work = (*read, *_steps(_weight(node)[1:], output_step))
    square = (*work, *work) if len(work) > len(written) else ()
    return (CONSTANT, *_products((work, square, read, written)))


def layer_terms(layer: LayerCost, step: int, *, contracting: bool) -> tuple[Term, ...]:
    """One operation of the analysis by its work (MACs) when ``contracting``, or else by the elements it writes."""
    shape = (*layer.output, *layer.reduced) if contracting else layer.output
    return _products((_steps(shape, step),))


def weight_terms(layer: LayerCost) -> tuple[Term, ...]:
    """The elements of a contraction's second operand: weights that a whole run reads once, cached or not."""
    return _products((_steps(layer.inputs[1], 1),)) if layer.contracts and len(layer.inputs) > 1 else ()


def _steps(shape: Sequence[DimForm], step: int) -> tuple[tuple[DimForm, int], ...]:
    return tuple((form, step) for form in shape)


def _products(shapes: Sequence[Sequence[tuple[DimForm, int]]]) -> tuple[Term, ...]:
    """A term a shape, with what no width changes in the coefficient; shapes that nothing changes are left out."""
    terms = []
    for shape in shapes:
        scale = math.prod(form.constant for form, _ in shape if not form.groups)
        factors = tuple((form, step) for form, step in shape if form.groups)
        if factors and scale:
            terms.append(Term(coefficient=float(scale), factors=factors))
    return tuple(dict.fromkeys(terms))


def _weight(node: MatchedNode) -> tuple[DimForm, ...]:
    return next((shape for shape in node.inputs[1:] if len(shape) >= 2), ())


def _reduced(node: MatchedNode, layers: Sequence[LayerCost]) -> tuple[DimForm, ...]:
    """The dimensions that the node sums over, from its weight or else from the layer with its input and output."""
    weight, source = _weight(node), node.inputs[0] if node.inputs else ()
    if "conv" in node.operator:
        if len(weight) >= 3:
            return weight[1:]
        alike = (layer for layer in layers if layer.contracts and layer.output[1:2] == node.output[1:2])
        twin = next((layer for layer in alike if layer.inputs[0][1:2] == source[1:2]), None)
        return twin.reduced if twin else source[1:2]
    if "gemm" in node.operator or "matmul" in node.operator:
        return source[-1:]
    return ()
