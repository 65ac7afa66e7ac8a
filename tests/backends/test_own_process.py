"""A sitting's sessions are in a process that starts with it and ends with it; one that ends before is told of."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from small_models import write_conv_net

from deployprune.backends.feeds import random_feeds
from deployprune.backends.registry import fresh_backend
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Target

TARGET = Target(backend="onnxruntime")


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children()}


def test_every_sitting_has_a_process_of_its_own(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    before, sat = children(), []
    for _ in range(2):
        with fresh_backend(TARGET) as backend, backend.open(path, TARGET) as session:
            session.bind(random_feeds(session.inputs, seed=0))
            assert session.time_once() > 0
            sat.append(children() - before)
        assert children() == before
    first, second = sat
    assert len(first) == len(second) == 1
    assert first != second


def test_a_process_that_ends_over_a_file_is_told_of_and_can_be_left(tmp_path: Path) -> None:
    path, before = write_conv_net(tmp_path / "net.onnx"), children()
    with fresh_backend(TARGET) as backend:
        session = backend.open(path, TARGET)
        session.bind(random_feeds(session.inputs, seed=0))
        for pid in children() - before:
            psutil.Process(pid).kill()
        with pytest.raises(ExportError, match="has ended"):
            session.time_once()
        session.close()
    assert children() == before


def test_it_ends_where_its_user_fails(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(UsageError), fresh_backend(TARGET) as backend:
        backend.open(tmp_path / "missing.onnx", TARGET)
    assert children() == before


def test_an_unknown_backend_is_refused_before_a_process_starts() -> None:
    before = children()
    with pytest.raises(BackendUnavailableError, match="nosuch"):
        fresh_backend(Target(backend="nosuch"))
    assert children() == before
