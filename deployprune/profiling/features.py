"""What a node's time may be made of: constants, work and traffic as products of its dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployprune.profiling.matching import MatchedNode
from deployprune.profiling.terms import CONSTANT, Condition, Term, Tiles, products, shared, stairs
from deployprune.records import DimForm, LayerCost

__all__ = ["NodeShape", "node_laws", "node_shape", "step_laws"]

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


def node_terms(shape: NodeShape, output_step: int, input_step: int, threads: int = 1) -> tuple[Term, ...]:
    """The node's constant, work (MACs, where it contracts), the work's square, and the elements it reads and writes.

    Kernels pad what they write to ``output_step`` channels, and some also what they sum over, to ``input_step``. The
    square is the part that grows faster than the work: weights that no longer fit the caches. With several ``threads``
    what is written is what the busiest has, where they share rows of sets.
    """
    read = stairs(shape.read, input_step)
    written = stairs(shape.written, output_step) if threads == 1 else shared(shape.written, output_step, threads)
    if shape.transposed:
        work = (*read, *stairs(shape.summed, output_step))
    else:
        work = (*written, *stairs(shape.summed, input_step))
    square = (*work, *work) if len(work) > len(written) else ()
    return (CONSTANT, *products((work, square, read, written)))


def node_laws(shape: NodeShape, step: int, threads: int = 1) -> list[tuple[Term, ...]]:
    """What is tried for a node, simplest first: all of :func:`step_laws`, then the rest that no step explains.

    Packed layouts keep 16, 8, 4 or 1 channels together, whatever divides their number (ncnn): every one of them that
    is missed makes the work dearer. Kernels of matrices work in tiles, and what is left of the outputs in smaller ones.
    Inputs that fill no block are read by a kernel of their own.
    """
    laws = step_laws(shape, step)
    return laws if step == 1 else [*laws, _packed(shape, step), _tiled(shape, step), *_thin(shape, step, threads)]


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
        (*output, *_charges(output, shape, _ALIGNMENT)),
        (*output, *_charges(output, shape, step)),
    ]


def _switched(
    terms: Sequence[Term],
    others: Sequence[Term],
    forms: tuple[DimForm, ...],
    alignment: int = _ALIGNMENT,
    least: int = 0,
) -> tuple[Term, ...]:
    """``terms`` on the alignment and from ``least`` channels on, ``others`` off it."""
    on, off = (Condition(forms=forms, alignment=alignment, least=least, off=value) for value in (False, True))
    return (*(replace(term, when=on) for term in terms), *(replace(term, when=off) for term in others))


def _charges(terms: tuple[Term, ...], shape: NodeShape, alignment: int) -> tuple[Term, ...]:
    """For each side all of ``terms`` once more where it is off the alignment."""
    sides = [side for side in dict.fromkeys((shape.outer, shape.inner)) if side]
    conditions = [Condition(forms=side, alignment=alignment, off=True) for side in sides]
    return tuple(replace(term, when=condition) for condition in conditions for term in terms)


def _thin(shape: NodeShape, step: int, threads: int) -> list[tuple[Term, ...]]:
    """Other rates where inputs are fewer than a block of ``step``; or a charge there, beside a cliff off the alignment.

    ONNX Runtime's MLAS reads such inputs channel by channel, and there its threads share rows of sets.
    """
    if not shape.inner:
        return []
    plain, output, both = (node_terms(shape, *steps) for steps in ((1, 1), (step, 1), (step, step)))
    sets = node_terms(shape, step, 1, threads)
    thin = Condition(forms=shape.inner, alignment=1, least=step, off=True)
    return [
        _switched(output, sets, shape.inner, alignment=1, least=step),
        (*_switched(both, plain, shape.inner, least=step), *(replace(term, when=thin) for term in sets)),
    ]


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
        (*(Tiles(form=form, step=each, within=within) for form in shape.written), *stairs(shape.summed, 1))
        for each, within in zip(steps, (None, *steps), strict=False)
    ]
    return (CONSTANT, *products((*tiles, stairs(shape.read, 1), stairs(shape.written, 1))))


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
