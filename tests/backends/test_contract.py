"""What every backend must do, the fake included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from contract_net import ContractNet, write_net

from deployprune.backends.base import Backend
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.errors import ExportError, UsageError
from deployprune.export.formats import get_format
from deployprune.records import Target

NAMES = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn", "fake")
NEED_TORCH = ("executorch",)
WEIGHTS_UNKNOWN = ("mnn",)  # its callbacks see no constants
ROOT = str(Path(__file__).parents[2])
OPENED = """
import os, sys
from pathlib import Path
from deployprune.backends.registry import require_backend
from deployprune.backends.feeds import random_feeds
from deployprune.records import Target
backend = require_backend({name!r})
session = backend.open(Path({path!r}), Target(backend={name!r}, threads={threads}))
session.run(random_feeds(session.inputs, 0))
"""


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the network once for each format, number of channels and batch."""

    @cache
    def written(name: str, channels: int = 20, batch: int = 1, static: bool = False) -> Path:
        return write_net(name, tmp_path_factory.mktemp("nets") / "net", channels=channels, batch=batch, static=static)

    return written


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    found = get_backend(request.param)
    if not found.availability().available:
        pytest.skip(f"{request.param} is not installed: {found.availability().hint}")
    return found


@pytest.fixture
def target(backend: Backend) -> Target:
    return Target(backend=backend.name)


@pytest.fixture
def path(backend: Backend, write: Callable[..., Path]) -> Path:
    return write(backend.format)


@pytest.fixture
def at_batch(backend: Backend, write: Callable[..., Path], path: Path) -> Callable[[int], Path]:
    """The file for a batch: the same for all where the format leaves it open."""
    return lambda batch: write(backend.format, batch=batch) if get_format(backend.format).fixed_batch else path


def in_a_process(backend: Backend, path: Path, program: str, home: Path, threads: int = 1) -> subprocess.Popen[str]:
    """A fresh interpreter that has opened ``path`` as ``session`` and goes on with ``program``."""
    opened = OPENED.format(name=backend.name, path=str(path), threads=threads)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": ROOT}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-c", opened + program]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_availability_tells_the_version(backend: Backend) -> None:
    found = backend.availability()
    assert found.available
    assert found.name == backend.name
    assert found.version
    assert found.version[0].isdigit()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_outputs_are_the_models(
    backend: Backend, target: Target, at_batch: Callable[[int], Path], batch: int, threads: int
) -> None:
    with backend.open(at_batch(batch), replace(target, batch=batch, threads=threads)) as session:
        assert [(spec.name, spec.shape, spec.dtype) for spec in session.inputs] == [
            ("image", (batch, 3, 16, 16), "float32")
        ]
        feeds = random_feeds(session.inputs, seed=1)
        outputs = session.run(feeds)
    with torch.inference_mode():
        expected = ContractNet(20)(torch.tensor(feeds["image"])).numpy()
    assert len(outputs) == 1
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-4, atol=1e-5)


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
    broken = get_format(backend.format).path(tmp_path / "broken")
    broken.write_bytes(content)
    with pytest.raises(ExportError, match="broken") as caught:
        backend.open(broken, target)
    assert caught.value.hint


def test_a_file_cut_short_is_named(backend: Backend, target: Target, path: Path, tmp_path: Path) -> None:
    *whole, last = get_format(backend.format).files(path)
    for file in whole:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / last.name).write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    with pytest.raises(ExportError, match="net"):
        backend.open(tmp_path / path.name, target)


def test_a_missing_file_is_a_usage_error(backend: Backend, target: Target, tmp_path: Path) -> None:
    gone = get_format(backend.format).path(tmp_path / "gone")
    with pytest.raises(UsageError, match=gone.name):
        backend.open(gone, target)


@pytest.mark.parametrize("change", [{"precision": "int3"}, {"threads": 0}, {"batch": 0}])
def test_a_target_that_cannot_be_honoured_is_refused(
    backend: Backend, target: Target, path: Path, change: dict[str, object]
) -> None:
    with pytest.raises(UsageError):
        backend.open(path, replace(target, **change))


def test_a_fixed_batch_is_kept_or_refused(backend: Backend, target: Target, write: Callable[..., Path]) -> None:
    path = write(backend.format, static=not get_format(backend.format).fixed_batch)
    with backend.open(path, target) as session:
        assert session.run(random_feeds(session.inputs, seed=0))[0].shape == (1, 10)
    with pytest.raises(UsageError, match="batch 4"):
        backend.open(path, replace(target, batch=4))


def test_node_times_are_sane(backend: Backend, target: Target, at_batch: Callable[[int], Path]) -> None:
    path, target = at_batch(2), replace(target, batch=2)
    with backend.open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
        session.bind(feeds)
        whole = min(session.time_once() for _ in range(30))
    nodes = backend.node_times(path, target, feeds, runs=30)
    assert len({node.name for node in nodes}) == len(nodes)
    assert all(node.ms >= 0 for node in nodes)
    assert sum(node.ms for node in nodes) > 0.1 * whole
    convolutions = [node for node in nodes if "Conv" in node.kind and node.outputs[0][2:] == (16, 16)]
    assert len(convolutions) == 3
    for node, channels in zip(convolutions, (3, 20, 20), strict=True):
        assert node.outputs == ((2, 20, 16, 16),)
        operands = ((2, channels, 16, 16), (20, channels, 3, 3), (20,))
        assert node.inputs[:3] == (operands[:1] if backend.name in WEIGHTS_UNKNOWN else operands)


def test_node_names_do_not_depend_on_the_width(
    backend: Backend, target: Target, write: Callable[..., Path], path: Path
) -> None:
    names = []
    for file in (write(backend.format, channels=32), path):
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


def test_closed_sessions_leave_no_threads_behind(backend: Backend, path: Path, tmp_path: Path) -> None:
    program = (
        "counts = []\n"
        "for _ in range(6):\n"
        f"    with backend.open(Path({str(path)!r}), Target(backend={backend.name!r}, threads=3)) as one:\n"
        "        one.run(random_feeds(one.inputs, 0))\n"
        "    counts.append(len(os.listdir('/proc/self/task')))\n"
        "print(counts[-1] - counts[0])\n"
    )
    process = in_a_process(backend, path, program, tmp_path, threads=3)
    assert process.communicate(timeout=120) == ("0\n", "")


def test_as_many_threads_compute_as_were_asked_for(backend: Backend, path: Path, tmp_path: Path) -> None:
    program = "session.run(random_feeds(session.inputs, 0)); print(len(os.listdir('/proc/self/task')))\n"
    processes = [in_a_process(backend, path, program, tmp_path, threads=threads) for threads in (1, 2)]
    one, two = (int(process.communicate(timeout=120)[0]) for process in processes)
    assert two - one == 1


def test_timing_can_be_interrupted(backend: Backend, path: Path, tmp_path: Path) -> None:
    program = (
        "session.bind(random_feeds(session.inputs, 0))\n"
        "try:\n"
        "    print('timing', flush=True)\n"
        "    while True: session.time_once()\n"
        "except KeyboardInterrupt:\n"
        "    session.close(); print('interrupted')\n"
    )
    process = in_a_process(backend, path, program, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "timing\n"
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said, errors) == (0, "interrupted\n", "")


def test_a_fresh_process_says_nothing_and_writes_nothing_at_home(backend: Backend, path: Path, tmp_path: Path) -> None:
    program = (
        "print([name for name in sys.modules if name.startswith('openvino_telemetry.')], 'torch' in sys.modules)\n"
    )
    process = in_a_process(backend, path, program, tmp_path)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, said, errors) == (0, f"[] {backend.name in NEED_TORCH}\n", "")
    assert list(tmp_path.iterdir()) == []
