"""The device's side in an arm64 Debian under an emulator, reached through a real ssh server: it answers and computes.

How long an emulator takes is no latency: no time is looked at here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from contract_net import write_net
from ssh_server import SshServer

from deployprune.backends.devices.remote import RemoteDevice
from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import get_backend
from deployprune.records import Target

ROOT = os.environ.get("DEPLOYPRUNE_ARM64_ROOT")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(ROOT is None, reason="DEPLOYPRUNE_ARM64_ROOT names no root: make one with tools/arm_root"),
]


@pytest.fixture(scope="module")
def board(server: SshServer) -> Iterator[RemoteDevice]:
    """The emulated machine."""
    python = quote(str(Path(ROOT or "", "python").resolve()))
    reached = RemoteDevice(server.url.replace(f"python={quote(sys.executable)}", f"python={python}") + "&wait=600")
    yield reached
    reached.close()


def test_it_says_what_it_is(board: RemoteDevice) -> None:
    found = board.survey()
    assert found.problem is None
    assert found.host is not None
    assert "aarch64" in found.host.os
    assert found.host.isa == ("asimd",)
    assert {"onnxruntime", "ncnn", "numpy"} <= found.host.versions.keys()
    there = {backend.name for backend in found.backends if backend.available}
    assert {"onnxruntime", "ncnn"} <= there
    assert "openvino" not in there


@pytest.mark.parametrize("name", ["onnxruntime", "ncnn"])
def test_it_computes_what_this_machine_does(board: RemoteDevice, tmp_path: Path, name: str) -> None:
    path = write_net(get_backend(name).format, tmp_path / "net", channels=20, batch=1)
    target, there = Target(backend=name), board.backend(name)
    with get_backend(name).open(path, target) as here:
        feeds = random_feeds(here.inputs, seed=3)
        expected = here.run(feeds)
    with there.open(path, target) as session:
        for output, wanted in zip(session.run(feeds), expected, strict=True):
            np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-5)
        session.bind(feeds)
        assert session.time_once() > 0
    assert [node.name for node in there.node_times(path, target, feeds, runs=2)]
