"""The suite's definitions: valid files that both runtimes open, and MACs that agree with the graph."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest

from deployprune.backends.feeds import random_feeds
from deployprune.backends.onnx_file import static_nodes
from deployprune.backends.registry import get_backend, require_backend
from deployprune.device.definitions import build_model, write_model
from deployprune.device.layers import Definition
from deployprune.device.suite import REFERENCE, SUITE
from deployprune.errors import UsageError
from deployprune.records import Target

ONE_OF_A_KIND = tuple({definition.kind: definition for definition in SUITE}.values())
WIDTH = 9  # a multiple of nothing


def counted(path: Path) -> int:
    """The MACs of every contraction in the file, from its shapes."""
    total = 0
    for node in static_nodes(path, 1):
        if node.op in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            (left, right, *_), (output, *_) = node.input_shapes, node.output_shapes
            assert left is not None
            assert right is not None
            assert output is not None
            if node.op == "ConvTranspose":
                total += prod(left) * prod(right[1:])
            elif node.op == "Conv":
                total += prod(output) * prod(right[1:])
            else:
                total += prod(output) * left[-1]
    return total


@pytest.mark.parametrize("definition", [REFERENCE, *SUITE], ids=lambda d: d.name)
def test_every_definition_is_valid_and_does_the_work_that_it_says(definition: Definition, tmp_path: Path) -> None:
    path = tmp_path / "cell.onnx"
    model = build_model(definition, WIDTH)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    assert counted(path) == definition.macs(WIDTH)


@pytest.mark.parametrize("definition", ONE_OF_A_KIND, ids=lambda d: d.kind)
def test_both_runtimes_compute_the_same_numbers_of_ordinary_size(definition: Definition, tmp_path: Path) -> None:
    outputs = []
    for name in ("onnxruntime", "openvino"):
        backend = require_backend(name)
        path = write_model(definition, WIDTH, 1, backend, tmp_path / name)
        with backend.open(path, Target(backend=name)) as session:
            outputs.append(session.run(random_feeds(session.inputs, seed=0))[0])
    assert np.allclose(*outputs, rtol=1e-3, atol=1e-3)
    assert 0.01 < outputs[0].std() < 100


def test_a_definition_has_the_batch_that_is_asked_for(tmp_path: Path) -> None:
    backend = require_backend("onnxruntime")
    for definition in ONE_OF_A_KIND:
        path = write_model(definition, 4, 2, backend, tmp_path / "two")
        with backend.open(path, Target(backend="onnxruntime", batch=2)) as session:
            assert session.run(random_feeds(session.inputs, seed=0))[0].shape[0] == 2, definition.name


@pytest.mark.parametrize("name", ["litert", "executorch"])
def test_a_backend_that_opens_no_onnx_is_refused_with_what_works(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        write_model(REFERENCE, 4, 1, get_backend(name), tmp_path / "cell")
    assert caught.value.hint == f"measure a model instead: deployprune profile MODEL --backend {name}"
    assert list(tmp_path.iterdir()) == []
