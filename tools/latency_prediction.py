"""How well a table predicts variants that it has not seen, beside the noise, beside isolated layers; what it costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
from latency_material import Conditions, Subject, print_rows
from onnx import TensorProto, helper

from deployprune.backends.onnx_file import GraphNode, static_nodes
from deployprune.backends.registry import backend_of
from deployprune.export.openvino import export_openvino
from deployprune.pipeline.tables import bound_session
from deployprune.profiling.measure import measure_interleaved
from deployprune.records import VariantRun, quantile

__all__ = ["print_prediction"]

_WITHIN = 0.05
_LAYERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_ISOLATED = 6  # unseen variants whose layers are timed one by one
_OPEN_ONNX = ("onnx", "openvino")  # formats whose runtimes open a layer that is written as ONNX
_FLOAT = TensorProto.FLOAT


def print_prediction(conditions: Conditions) -> None:
    """Errors of unseen variants, and the seconds that the table took."""
    print("### Prediction of unseen variants, and what the table costs\n")
    print_rows(
        (
            "model",
            "backend",
            "threads",
            "dense ms",
            "within 5 %",
            "mean error",
            "largest",
            "noise (split half)",
            "isolated layers: mean error",
            "seconds: files",
            "seconds: table",
            "samples",
        ),
        _rows(conditions),
    )


def _rows(conditions: Conditions) -> Iterator[list[object]]:
    for case in conditions.cases:
        with conditions.subject(case) as subject:
            found, fitted = subject.recording, subject.fitted
            errors = np.array([abs(fitted.predict_ms(run.widths) / run.total_ms - 1.0) for run in found.unseen])
            isolated = f"{_isolated_error(subject):.1%}" if backend_of(subject.target).format in _OPEN_ONNX else "-"
        yield [
            *case.cells,
            f"{found.table.runs[0].total_ms:.2f}",
            f"{(errors <= _WITHIN).mean():.0%}",
            f"{errors.mean():.1%}",
            f"{errors.max():.1%}",
            f"{np.mean([_split_half(run) for run in found.unseen]):.1%}",
            isolated,
            f"{found.file_seconds:.0f}",
            f"{found.table.seconds:.0f}",
            found.samples,
        ]


def _split_half(run: VariantRun) -> float:
    """How much the ratio to dense differs between the odd and the even rounds."""
    halves = [np.quantile(run.samples_ms[half::2], 0.25) / np.quantile(run.dense_ms[half::2], 0.25) for half in (0, 1)]
    return float(abs(halves[0] / halves[1] - 1.0))


def _isolated_error(subject: Subject) -> float:
    """The mean error of predicting by the sum of layers timed alone, scaled to the dense model."""
    whole, dense_ms = _sum_of_layers(subject, 0), subject.recording.table.runs[0].total_ms
    errors = []
    for index, run in enumerate(subject.recording.unseen[:_ISOLATED]):
        predicted = dense_ms * _sum_of_layers(subject, subject.first_unseen + index) / whole
        errors.append(abs(predicted / run.total_ms - 1.0))
    return float(np.mean(errors))


def _sum_of_layers(subject: Subject, index: int) -> float:
    """The ms of the variant's contractions, each timed as a model of its own."""
    backend = backend_of(subject.target)
    path = subject.variants.path(index, backend).with_suffix(".onnx")
    model = onnx.load(path)
    protos = {node.name: node for node in model.graph.node}
    layers = [node for node in static_nodes(path, 1) if node.op in _LAYERS and None not in node.input_shapes]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sessions = {}
        for position, layer in enumerate(layers):
            place = Path(folder) / f"{position}.onnx"
            _write_layer(layer, protos[layer.name], model, place)
            if backend.format == "openvino":
                export_openvino(place, place.with_suffix(".xml"))
                place = place.with_suffix(".xml")
            sessions[str(position)] = stack.enter_context(bound_session(backend, place, subject.target, 0))
        timed = measure_interleaved(sessions, rounds=5, min_round_ms=0.5)
    return sum(quantile(measurement.samples_ms, 0.25) for measurement in timed.values())


def _write_layer(layer: GraphNode, node: onnx.NodeProto, model: onnx.ModelProto, path: Path) -> None:
    weights = [tensor for tensor in model.graph.initializer if tensor.name in node.input]
    known = {tensor.name for tensor in weights}
    shapes = dict(zip((name for name in layer.inputs if name), layer.input_shapes, strict=True))
    inputs = [helper.make_tensor_value_info(name, _FLOAT, shapes[name]) for name in shapes if name not in known]
    outputs = [helper.make_tensor_value_info(layer.outputs[0], _FLOAT, layer.output_shapes[0])]
    graph = helper.make_graph([node], "layer", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), path)
