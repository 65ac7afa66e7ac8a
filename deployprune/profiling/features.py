"""What a node's time may be made of: constants, work and traffic as products of its dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployprune.profiling.matching import MatchedNode
from deployprune.profiling.terms import CONSTANT, Condition, Factor, Stairs, Term, Tiles
from deployprune.records import DimForm, LayerCost

__all__ = ["NodeShape", "border_terms", "layer_terms", "node_laws", "node_shape", "step_laws", "weight_terms"]

_ALIGNMENT = 4  # channels below which blocked layouts are left (ONNX Runtime's MLAS), whatever the block


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """The dimensions that a node's time is made of: what it reads, writes, and sums over."""

    read: tuple[DimForm, ...]
    written: tuple[DimForm, ...]
    summed: tuple[DimForm, ...]
    transposed: bool

    @property
    def inner(self) -> tuple[DimForm, ...]:
        """The dimensions of the reading side that widths change."""
        return tuple(dict.fromkeys(form for form in (*self.read, *self.summed) if form.groups))

    @property
    def outer(self) -> tuple[DimForm, ...]:
        """Those of the writing side."""
        return tuple(dict.fromkeys(form for form in self.written if form.groups))


def node_shape(node: MatchedNode, layers: Sequence[LayerCost]) -> NodeShape:
    """What a matched node reads, writes and sums over."""
    transposed = "transpose" in node.operator or "backprop" in node.operator
    summed = _weight(node)[1:] if transposed else _reduced(node, layers)
    return NodeShape(
        read=node.inputs[0] if node.inputs else (), written=node.output, summed=summed, transposed=transposed
    )


def node_terms(shape: NodeShape, output_step: int, input_step: int) -> tuple[Term, ...]:
    """The node's constant, work (MACs, where it contracts), the work's square, and the elements it reads and writes.

    Kernels pad what they write to ``output_step`` channels, and some also what they sum over, to ``input_step``. The
    square is the part that grows faster than the work: weights that no longer fit the caches.
    """
    written, read = _steps(shape.written, output_step), _steps(shape.read, input_step)
    if shape.transposed:
        work = (*read, *_steps(shape.summed, output_step))
    else:
        work = (*written, *_steps(shape.summed, input_step))
    square = (*work, *work) if len(work) > len(written) else ()
    return (CONSTANT, *_products((work, square, read, written)))


def node_laws(shape: NodeShape, step: int) -> list[tuple[Term, ...]]:
    """What is tried for a node, simplest first: all of :func:`step_laws`, then the rest that no step explains.

    Packed layouts keep 16, 8, 4 or 1 channels together, whatever divides their number (ncnn): every one of them that
    is missed makes the work dearer. Kernels of matrices work in tiles, and what is left of the outputs in smaller ones.
    """
    laws = step_laws(shape, step)
    return laws if step == 1 else [*laws, _packed(shape, step), _tiled(shape, step)]


def step_laws(shape: NodeShape, step: int) -> list[tuple[Term, ...]]:
    """Laws with one step: smooth; padded outputs; padded inputs too; cliffs off an alignment.

    Behind a cliff either all rates are others (another kernel), or each side that is off costs something more.
    """
    plain, output, both = (node_terms(shape, *steps) for steps in ((1, 1), (step, 1), (step, step)))
    if step == 1:
        return [plain]
    inner, outer = shape.inner or shape.outer, shape.outer or shape.inner
    return [
        plain,
        output,
        both,
        _switched(output, plain, outer),
        _switched(output, plain, inner),
        _switched(both, plain, inner),
        _switched(both, both, tuple(dict.fromkeys((*outer, *inner)))),
        _charged(output, shape, _ALIGNMENT),
        _charged(output, shape, step),
    ]


def _switched(terms: Sequence[Term], others: Sequence[Term], forms: tuple[DimForm, ...]) -> tuple[Term, ...]:
    """``terms`` on the alignment, ``others`` off it."""
    on, off = (Condition(forms=forms, alignment=_ALIGNMENT, off=value) for value in (False, True))
    return (*(replace(term, when=on) for term in terms), *(replace(term, when=off) for term in others))


def _charged(terms: tuple[Term, ...], shape: NodeShape, alignment: int) -> tuple[Term, ...]:
    """``terms``, and for each side all of them once more where it is off the alignment."""
    sides = [side for side in dict.fromkeys((shape.outer, shape.inner)) if side]
    conditions = [Condition(forms=side, alignment=alignment, off=True) for side in sides]
    return (*terms, *(replace(term, when=condition) for condition in conditions for term in terms))


def _packed(shape: NodeShape, step: int) -> tuple[Term, ...]:
    """Smooth, and the work once more for each halving of the step that does not divide the channels written."""
    terms = node_terms(shape, 1, 1)
    sides = shape.outer or shape.inner
    alignments = [step >> power for power in range(step.bit_length() - 1)]
    missed = [Condition(forms=sides, alignment=alignment, off=True) for alignment in alignments]
    return (*terms, *(replace(term, when=condition) for condition in missed for term in terms[1:2]))


def _tiled(shape: NodeShape, step: int) -> tuple[Term, ...]:
    """The work in tiles of ``step`` outputs, and in tiles of half as many for what is left, down to single ones."""
    steps = [step >> power for power in range(step.bit_length())]
    tiles = [
        (*(Tiles(form=form, step=each, within=within) for form in shape.written), *_steps(shape.summed, 1))
        for each, within in zip(steps, (None, *steps), strict=False)
    ]
    return (CONSTANT, *_products((*tiles, _steps(shape.read, 1), _steps(shape.written, 1))))


def layer_terms(layer: LayerCost, step: int, *, contracting: bool) -> tuple[Term, ...]:
    """One operation of the analysis by its work (MACs) when ``contracting``, or else by the elements it writes."""
    shape = (*layer.output, *layer.reduced) if contracting else layer.output
    return _products((_steps(shape, step),))


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
        for term in _products((_steps(side, 1),))
    )


def _moving(shape: Sequence[DimForm]) -> tuple[DimForm, ...]:
    return tuple(form for form in shape if form.groups)


def weight_terms(layer: LayerCost) -> tuple[Term, ...]:
    """The elements of a contraction's second operand: weights that a whole run reads once, cached or not."""
    return _products((_steps(layer.inputs[1], 1),)) if layer.contracts and len(layer.inputs) > 1 else ()


def _steps(shape: Sequence[DimForm], step: int) -> tuple[Factor, ...]:
    return tuple(Stairs(form=form, step=step) for form in shape)


def _products(shapes: Sequence[Sequence[Factor]]) -> tuple[Term, ...]:
    """A term a shape, with what no width changes in the coefficient; shapes that nothing changes are left out."""
    terms = []
    for shape in shapes:
        scale = math.prod(factor.form.constant for factor in shape if not factor.form.groups)
        factors = tuple(factor for factor in shape if factor.form.groups)
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
