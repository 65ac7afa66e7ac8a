"""How well a table predicts variants that it has not seen, beside the noise, beside isolated layers; what it costs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
from latency_material import Conditions, make_bench, measure, print_rows, variants_of
from onnx import TensorProto, helper

from deployprune.backends.onnx_file import GraphNode, static_nodes
from deployprune.backends.registry import backend_of
from deployprune.export.openvino import export_openvino
from deployprune.pipeline.tables import bound_session
from deployprune.pipeline.variants import Variants
from deployprune.profiling.fit import fit_latency
from deployprune.profiling.measure import measure_interleaved
from deployprune.records import Target, VariantRun, quantile

__all__ = ["print_prediction"]

_WITHIN = 0.05
_LAYERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_ISOLATED = 6  # unseen variants whose layers are timed one by one
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
    for model, backend, threads in conditions.cases():
        bench = make_bench(model, backend, threads)
        record, target = bench.analysis.record, bench.targets[0]
        with variants_of(bench, conditions.variants, conditions.unseen) as variants:
            started = time.monotonic()
            for index in range(conditions.variants):
                variants.path(index, backend_of(target))
            files = time.monotonic() - started
            found = measure(variants, target, conditions.unseen)
            fitted = fit_latency(found.table, record)
            errors = np.array([abs(fitted.predict_ms(run.widths) / run.total_ms - 1.0) for run in found.unseen])
            isolated = _isolated_error(variants, found.unseen, found.table.runs[0], target, conditions.variants)
        yield [
            model,
            backend,
            threads,
            f"{found.table.runs[0].total_ms:.2f}",
            f"{(errors <= _WITHIN).mean():.0%}",
            f"{errors.mean():.1%}",
            f"{errors.max():.1%}",
            f"{np.mean([_split_half(run) for run in found.unseen]):.1%}",
            f"{isolated:.1%}",
            f"{files:.0f}",
            f"{found.table.seconds:.0f}",
            found.whole_runs,
        ]


def _split_half(run: VariantRun) -> float:
    """How much the ratio to dense differs between the odd and the even rounds."""
    halves = [np.quantile(run.samples_ms[half::2], 0.25) / np.quantile(run.dense_ms[half::2], 0.25) for half in (0, 1)]
    return float(abs(halves[0] / halves[1] - 1.0))


def _isolated_error(
    variants: Variants, unseen: tuple[VariantRun, ...], dense: VariantRun, target: Target, first: int
) -> float:
    """The mean error of predicting by the sum of layers timed alone, scaled to the dense model."""
    whole = _sum_of_layers(variants, 0, target)
    errors = []
    for index, run in enumerate(unseen[:_ISOLATED]):
        predicted = dense.total_ms * _sum_of_layers(variants, first + index, target) / whole
        errors.append(abs(predicted / run.total_ms - 1.0))
    return float(np.mean(errors))


def _sum_of_layers(variants: Variants, index: int, target: Target) -> float:
    """The ms of the variant's contractions, each timed as a model of its own."""
    backend = backend_of(target)
    path = variants.path(index, backend).with_suffix(".onnx")
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
            sessions[str(position)] = stack.enter_context(bound_session(backend, place, target, 0))
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
