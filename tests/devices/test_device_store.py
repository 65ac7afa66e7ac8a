from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployprune.backends.devices.claim import Claim
from deployprune.backends.devices.store import ModelStore
from deployprune.errors import DeviceError


def test_a_model_is_kept_whole_under_its_hash(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    assert store.find("a1") is None
    store.add("a1", ["net.xml", "net.bin"], [b"text", b"weights"])
    found = store.find("a1")
    assert found is not None
    assert {file.name: file.read_bytes() for file in found.iterdir()} == {"net.xml": b"text", "net.bin": b"weights"}
    assert [folder.name for folder in (tmp_path / "models").iterdir()] == ["a1"]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, limit=250)
    for age, digest in enumerate(("old", "older", "new")):
        store.add(digest, ["net"], [bytes(100)])
        os.utime(tmp_path / digest, (1000 - age, 1000 - age))
    assert store.find("old") is not None  # used just now
    store.add("newest", ["net"], [bytes(100)])
    assert {folder.name for folder in tmp_path.iterdir()} == {"old", "newest"}


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "..", "", ".hidden", "a/b"])
def test_nothing_is_written_anywhere_else(tmp_path: Path, name: str) -> None:
    store = ModelStore(tmp_path / "models")
    with pytest.raises(DeviceError):
        store.add("a1", [name], [b""])
    with pytest.raises(DeviceError):
        store.add(name, ["net"], [b""])
    assert store.find("a1") is None
    assert list(tmp_path.rglob("*")) == []


def test_a_claim_is_anothers_only_when_released(tmp_path: Path) -> None:
    first, second = Claim(tmp_path / "lock", "one", 0.0), Claim(tmp_path / "lock", "two", 0.0)
    first.take()
    first.take()
    with pytest.raises(DeviceError, match="in use"):
        second.take()
    first.release()
    first.release()
    second.take()
    second.release()
