"""All runtimes in one process, in any order: their native libraries must bear one another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract_net import write_net

from deployprune.backends.registry import get_backend

PROGRAM = """
import sys
from pathlib import Path
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.records import Target

folder, first, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
if first:
    __import__(first)
from deployprune.export.formats import get_format

sessions, nodes = {}, {}
for name in names:
    backend, target = get_backend(name), Target(backend=name)
    path = get_format(backend.format).path(folder / "net")
    sessions[name] = backend.open(path, target)
    feeds = random_feeds(sessions[name].inputs, 0)
    sessions[name].bind(feeds)
    nodes[name] = len(backend.node_times(path, target, feeds, 2))
for _ in range(5):
    for session in sessions.values():
        assert session.time_once() > 0
outputs = [sessions[name].run(feeds)[0] for name in names]
assert all(abs(output - outputs[0]).max() < 1e-4 for output in outputs)
assert all(nodes.values()), nodes
for session in sessions.values():
    session.close()
print("closed")
"""
NAMES = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in NAMES if not get_backend(name).availability().available]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    place = tmp_path_factory.mktemp("together")
    for name in ("openvino", "litert", "executorch", "ncnn", "mnn"):
        write_net(name, place / "net", channels=16, batch=1)
    return place


SLOW = pytest.mark.slow  # exporters take long to import


@pytest.mark.parametrize(
    "first", ["", "torch", pytest.param("litert_torch", marks=SLOW), pytest.param("executorch.exir", marks=SLOW)]
)
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1]], ids=["forward", "backward"])
def test_runtimes_bear_one_another(folder: Path, first: str, names: tuple[str, ...]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), first, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr
