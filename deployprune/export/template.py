"""One ONNX file for all widths of a model: every shape in it is a function of the widths, learned from real exports.

An export of a variant costs seconds, and tells little that another did not. From a few of them one sees which
dimension, which shape constant and which group count follows which width; further variants are then cut out of the
dense file. They are for timing: shapes are those of a real export, weights are any of the dense model's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, numpy_helper

from deployprune.export.staging import staged
from deployprune.records import DimForm

__all__ = ["FindForm", "OnnxTemplate", "Sample", "learn_template"]

_FEW = 64  # elements of a constant whose values may be sizes
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)

FindForm = Callable[[Sequence[int]], DimForm | None]
"""The form that takes these sizes in the samples, one after another; None where no form does."""

Forms = tuple[DimForm, ...]


class _UnlikeError(Exception):
    """The samples differ in more than sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A real export: its file, and the widths that it has."""

    model: ModelProto
    widths: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """A weight of the dense file whose shape follows the widths, or a constant whose ``values`` do."""

    dense: TensorProto
    shape: Forms
    values: Forms | None

    def at(self, name: str, widths: dict[str, int]) -> TensorProto:
        array = numpy_helper.to_array(self.dense)
        if self.values is not None:
            sizes = [form.size(widths) for form in self.values]
            return numpy_helper.from_array(np.array(sizes, dtype=array.dtype).reshape(array.shape), name)
        part: NDArray[np.generic] = array[tuple(slice(form.size(widths)) for form in self.shape)]
        return numpy_helper.from_array(np.ascontiguousarray(part).reshape(part.shape), name)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxTemplate:
    """The dense ``model`` with its tensors and integer attributes as functions of the widths."""

    model: ModelProto
    tensors: Mapping[str, _Tensor]
    attributes: Mapping[tuple[int, str], Forms]

    def build(self, widths: dict[str, int]) -> ModelProto:
        """The model at these widths."""
        built = ModelProto()
        built.CopyFrom(self.model)
        built.graph.initializer.extend(tensor.at(name, widths) for name, tensor in self.tensors.items())
        for (position, name), forms in self.attributes.items():
            attribute = next(item for item in built.graph.node[position].attribute if item.name == name)
            _set_numbers(attribute, [form.size(widths) for form in forms])
        return built

    def write(self, widths: dict[str, int], path: Path) -> None:
        """Write the model at these widths as ``path``."""
        with staged(path) as place:
            place.write_bytes(self.build(widths).SerializeToString(deterministic=True))

    def foretells(self, sample: Sample) -> bool:
        """Whether the model at the sample's widths has the sample's nodes, shapes and sizes throughout."""
        return _shapes(self.build(sample.widths)) == _shapes(sample.model)


def learn_template(samples: Sequence[Sample], find: FindForm) -> OnnxTemplate | None:
    """The template behind ``samples``, of which the first is dense; None where they differ in more than sizes.

    ``find`` gives the form of sizes in the samples' order. Large models, with their weights beside the file, have none.
    """
    graphs = [sample.model.graph for sample in samples]
    dense = ModelProto()
    dense.CopyFrom(samples[0].model)
    tensors: dict[str, _Tensor] = {}
    attributes: dict[tuple[int, str], Forms] = {}
    weights = [{tensor.name: tensor for tensor in graph.initializer} for graph in graphs]
    try:
        if len({tuple(node.op_type for node in graph.node) for graph in graphs}) > 1:
            return None
        for position, nodes in enumerate(zip(*(graph.node for graph in graphs), strict=True)):
            attributes.update({(position, name): forms for name, forms in _attributes(nodes, find).items()})
            _replace_weights(dense.graph.node[position], nodes, weights, tensors, find)
    except _UnlikeError:
        return None
    del dense.graph.initializer[:], dense.graph.value_info[:]
    return OnnxTemplate(model=dense, tensors=tensors, attributes=attributes)


def _replace_weights(
    node: NodeProto,
    nodes: Sequence[NodeProto],
    weights: Sequence[Mapping[str, TensorProto]],
    tensors: dict[str, _Tensor],
    find: FindForm,
) -> None:
    """Make ``node`` take its weights from ``tensors``: one that the dense file shares may part in others."""
    if len({len(each.input) for each in nodes}) > 1:
        raise _UnlikeError
    for slot, name in enumerate(node.input):
        found = [own.get(each.input[slot]) for own, each in zip(weights, nodes, strict=True)]
        present = [tensor for tensor in found if tensor is not None]
        if not present:
            continue
        if len(present) < len(found):
            raise _UnlikeError
        tensor = _tensor(present, find)
        alias = next(key for key in _aliases(name) if tensors.get(key, tensor) == tensor)
        tensors[alias] = tensor
        node.input[slot] = alias


def _aliases(name: str) -> Sequence[str]:
    return [name, *(f"{name}~{number}" for number in range(1, 10_000))]


def _tensor(found: Sequence[TensorProto], find: FindForm) -> _Tensor:
    kinds = {(tensor.data_type, len(tensor.dims)) for tensor in found}
    if len(kinds) > 1 or any(tensor.data_location == TensorProto.EXTERNAL for tensor in found):
        raise _UnlikeError
    shape = _forms([tuple(tensor.dims) for tensor in found], find)
    values = None
    if found[0].data_type in _INTEGERS:
        numbers = [tuple(int(value) for value in numpy_helper.to_array(tensor).ravel()) for tensor in found]
        if len(set(numbers)) > 1:
            if len(numbers[0]) > _FEW:
                raise _UnlikeError
            values = _forms(numbers, find)
    return _Tensor(dense=found[0], shape=shape, values=values)


def _forms(rows: Sequence[Sequence[int]], find: FindForm) -> Forms:
    """The form of each column of numbers."""
    if len({len(row) for row in rows}) > 1:
        raise _UnlikeError
    forms = [find(sizes) for sizes in zip(*rows, strict=True)]
    known = tuple(form for form in forms if form is not None)
    if len(known) < len(forms):
        raise _UnlikeError
    return known


def _attributes(nodes: Sequence[NodeProto], find: FindForm) -> dict[str, Forms]:
    """The forms of the integer attributes that are not the same in all samples."""
    found = {}
    for name in {attribute.name for node in nodes for attribute in node.attribute}:
        alike = [attribute for node in nodes for attribute in node.attribute if attribute.name == name]
        if len(alike) < len(nodes):
            raise _UnlikeError
        if all(attribute == alike[0] for attribute in alike):
            continue
        if any(attribute.type not in (AttributeProto.INT, AttributeProto.INTS) for attribute in alike):
            raise _UnlikeError
        found[name] = _forms([_numbers(attribute) for attribute in alike], find)
    return found


def _numbers(attribute: AttributeProto) -> tuple[int, ...]:
    return (attribute.i,) if attribute.type == AttributeProto.INT else tuple(attribute.ints)


def _set_numbers(attribute: AttributeProto, numbers: Sequence[int]) -> None:
    if attribute.type == AttributeProto.INT:
        attribute.i = numbers[0]
    else:
        attribute.ints[:] = numbers


def _shapes(model: ModelProto) -> list[object]:
    """All that latency depends on: the nodes, how they are connected, the weights' shapes, and sizes in constants."""
    weights = {tensor.name: _described(tensor) for tensor in model.graph.initializer}
    places = {name: index for index, name in enumerate(value.name for value in model.graph.input)}
    described: list[object] = []
    for node in model.graph.node:
        operands = [weights[name] if name in weights else places.get(name) for name in node.input]
        places.update({name: len(places) for name in node.output})
        described.append((node.op_type, operands, sorted(item.SerializeToString() for item in node.attribute)))
    return described


def _described(tensor: TensorProto) -> tuple[object, ...]:
    values = numpy_helper.to_array(tensor).tobytes() if tensor.data_type in _INTEGERS else b""
    return tensor.data_type, tuple(tensor.dims), values
