"""One ssh server for the whole room, and fresh ones for tests that break them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_models import write_conv_net, write_ir
from ssh_server import SshServer, require_openssh


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """A server that stays."""
    require_openssh()
    running = SshServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[SshServer]:
    """A server that the test may do anything to."""
    require_openssh()
    running = SshServer(tmp_path / "server")
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as ``net.onnx``, with its IR beside it."""
    path = write_conv_net(tmp_path_factory.mktemp("nets") / "net.onnx", channels=20)
    write_ir(path)
    return path
