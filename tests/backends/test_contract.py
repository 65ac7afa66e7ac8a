"""What every backend must do, the fake included."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from small_models import write_conv_net, write_ir

from deployprune.backends.base import Backend
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.errors import ExportError, UsageError
from deployprune.records import Target

NAMES = ("onnxruntime", "openvino", "fake")


@pytest.fixture(scope="module")
def onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_conv_net(tmp_path_factory.mktemp("nets") / "net.onnx", channels=20)
    write_ir(path)
    return path


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    return get_backend(request.param)


@pytest.fixture
def target(backend: Backend) -> Target:
    return Target(backend=backend.name)


@pytest.fixture
def path(backend: Backend, onnx_path: Path) -> Path:
    return onnx_path.with_suffix(".xml") if backend.format == "openvino" else onnx_path


def test_availability_tells_the_version(backend: Backend) -> None:
    found = backend.availability()
    assert found.available
    assert found.name == backend.name
    assert found.version
    assert found.version[0].isdigit()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_the_reference_ones(
    backend: Backend, target: Target, path: Path, onnx_path: Path, batch: int, threads: int
) -> None:
    with backend.open(path, replace(target, batch=batch, threads=threads)) as session:
        assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [
            ("image", (batch, 3, 16, 16), "float32")
        ]
        feeds = random_feeds(session.inputs, seed=1)
        outputs = session.run(feeds)
    expected = ReferenceEvaluator(onnx.load(onnx_path)).run(None, feeds)
    assert len(outputs) == 1
    np.testing.assert_allclose(outputs[0], expected[0], rtol=1e-4, atol=1e-5)


def test_several_open_sessions_do_not_mix(backend: Backend, target: Target, path: Path) -> None:
    with backend.open(path, target) as one, backend.open(path, target) as two:
        first, second = random_feeds(one.inputs, seed=1), random_feeds(one.inputs, seed=2)
        one.bind(first)
        kept = one.run(first)[0].copy()
        other = two.run(second)[0]
        assert one.time_once() > 0
        assert not np.allclose(kept, other)
        np.testing.assert_array_equal(one.run(first)[0], kept)


def test_running_leaves_earlier_outputs_and_the_bound_inputs_alone(
    backend: Backend, target: Target, path: Path
) -> None:
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=1)
        before = feeds["image"].copy()
        session.bind(feeds)
        first = session.run(feeds)[0]
        copy = first.copy()
        session.run(random_feeds(session.inputs, seed=2))
        session.time_once()
    np.testing.assert_array_equal(first, copy)
    np.testing.assert_array_equal(feeds["image"], before)


def test_time_needs_bound_inputs(backend: Backend, target: Target, path: Path) -> None:
    with backend.open(path, target) as session, pytest.raises(UsageError, match="bound"):
        session.time_once()


def test_closing_twice_is_harmless(backend: Backend, target: Target, path: Path) -> None:
    session = backend.open(path, target)
    session.close()
    session.close()


@pytest.mark.parametrize(
    "feeds",
    [
        {"picture": np.zeros((1, 3, 16, 16), np.float32)},
        {"image": np.zeros((1, 3, 16, 17), np.float32)},
        {"image": np.zeros((2, 3, 16, 16), np.float32)},
        {"image": np.zeros((1, 3, 16, 16), np.float64)},
        {},
    ],
    ids=["name", "size", "batch", "dtype", "nothing"],
)
def test_wrong_inputs_are_refused_by_name(
    backend: Backend, target: Target, path: Path, feeds: dict[str, np.ndarray]
) -> None:
    with backend.open(path, target) as session:
        with pytest.raises(UsageError, match="image"):
            session.run(feeds)
        with pytest.raises(UsageError, match="image"):
            session.bind(feeds)


@pytest.mark.parametrize("content", [b"", b"not a model at all", bytes(range(256)) * 8], ids=["empty", "text", "bytes"])
def test_a_broken_file_is_named(backend: Backend, target: Target, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / f"broken{'.xml' if backend.format == 'openvino' else '.onnx'}"
    broken.write_bytes(content)
    with pytest.raises(ExportError, match="broken") as caught:
        backend.open(broken, target)
    assert caught.value.hint


def test_a_file_cut_short_is_named(backend: Backend, target: Target, path: Path, tmp_path: Path) -> None:
    whole = path.with_suffix(".bin") if backend.format == "openvino" else path
    cut = tmp_path / whole.name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if backend.format == "openvino":
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ExportError, match="net"):
        backend.open(tmp_path / path.name, target)


def test_a_missing_file_is_a_usage_error(backend: Backend, target: Target, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.onnx"):
        backend.open(tmp_path / "gone.onnx", target)


@pytest.mark.parametrize("change", [{"precision": "int3"}, {"threads": 0}, {"batch": 0}])
def test_a_target_that_cannot_be_honoured_is_refused(
    backend: Backend, target: Target, path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        backend.open(path, replace(target, **change))


def test_a_fixed_batch_is_kept_or_refused(backend: Backend, target: Target, tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "fixed.onnx", batch=1)
    if backend.format == "openvino":
        path = write_ir(path)
    with backend.open(path, target) as session:
        assert session.run(random_feeds(session.inputs, seed=0))[0].shape == (1, 10)
    with pytest.raises(UsageError, match="batch 4"):
        backend.open(path, replace(target, batch=4))


def test_node_times_are_sane(backend: Backend, target: Target, path: Path) -> None:
    target = replace(target, batch=2)
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
        session.bind(feeds)
        whole = min(session.time_once() for _ in range(30))
    nodes = backend.node_times(path, target, feeds, runs=30)
    assert len({node.name for node in nodes}) == len(nodes)
    assert all(node.ms >= 0 for node in nodes)
    assert sum(node.ms for node in nodes) > 0.1 * whole
    shapes = {node.name.split("/")[0]: (node.inputs, node.outputs) for node in nodes if "Conv" in node.kind}
    assert set(shapes) == {"stem", "conv0a", "conv0b"}
    for name, channels in (("stem", 3), ("conv0a", 20), ("conv0b", 20)):
        inputs, outputs = shapes[name]
        assert outputs == ((2, 20, 16, 16),)
        assert inputs[:3] == ((2, channels, 16, 16), (20, channels, 3, 3), (20,))


def test_node_names_do_not_depend_on_the_width(backend: Backend, target: Target, tmp_path: Path, path: Path) -> None:
    aligned = write_conv_net(tmp_path / "aligned.onnx", channels=32)
    if backend.format == "openvino":
        aligned = write_ir(aligned)
    names = []
    for file in (aligned, path):
        with backend.open(file, target) as session:
            feeds = random_feeds(session.inputs, seed=0)
        nodes = backend.node_times(file, target, feeds, runs=3)
        names.append([(node.name, node.kind) for node in nodes if not node.kind.startswith("Reorder")])
    assert names[0] == names[1]


def test_nothing_is_left_behind(
    backend: Backend, target: Target, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted(path.parent.iterdir())
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
    backend.node_times(path, target, feeds, runs=2)
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.parent.iterdir()) == before


def test_a_fresh_process_says_nothing_and_writes_nothing_at_home(backend: Backend, path: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from deployprune.backends.registry import require_backend\n"
        "from deployprune.backends.feeds import random_feeds\n"
        "from deployprune.records import Target\n"
        f"backend = require_backend({backend.name!r})\n"
        f"session = backend.open(Path({str(path)!r}), Target(backend={backend.name!r}))\n"
        "session.run(random_feeds(session.inputs, 0))\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')], 'torch' in sys.modules)\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": root}
    environment.pop("ORT_DISABLE_TELEMETRY")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] False\n", "")
    assert list(tmp_path.iterdir()) == []
