"""Targets are called by their backends, and by no more than what tells them apart."""

from __future__ import annotations

from deployprune.records import Target
from deployprune.records.naming import label_targets


def labels(*targets: Target) -> list[str]:
    return list(label_targets(targets).values())


def test_the_backend_is_enough_where_nothing_else_differs() -> None:
    board = "ssh://board"
    assert labels(Target(backend="a", device=board, threads=2), Target(backend="b", device=board, threads=2)) == [
        "a",
        "b",
    ]


def test_what_differs_between_any_two_is_said_of_all() -> None:
    targets = [Target(backend="a"), Target(backend="a", threads=2), Target(backend="b", precision="bf16")]
    assert labels(*targets) == ["a · 1 thread · f32", "a · 2 threads · f32", "b · 1 thread · bf16"]
    assert labels(Target(backend="a"), Target(backend="a", device="adb://x")) == ["a · local", "a · adb://x"]
