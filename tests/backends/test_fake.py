from __future__ import annotations

from pathlib import Path

import pytest
from small_models import write_conv_net

from deployprune.backends.fake import CHANNEL_STEP, CONSTANT_MS, FakeBackend
from deployprune.backends.feeds import random_feeds
from deployprune.records import Target

TARGET = Target(backend="fake")


def samples(path: Path, count: int, target: Target = TARGET) -> list[float]:
    with FakeBackend().open(path, target) as session:
        session.bind(random_feeds(session.inputs, seed=0))
        return [session.time_once() for _ in range(count)]


def nodes_ms(path: Path, target: Target = TARGET) -> dict[str, float]:
    with FakeBackend().open(path, target) as session:
        feeds = random_feeds(session.inputs, seed=0)
    return {node.name: node.ms for node in FakeBackend().node_times(path, target, feeds, runs=1)}


def test_time_is_the_same_every_time_but_for_a_tiny_noise(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    first = samples(path, 20)
    assert samples(path, 20) == first
    assert len(set(first)) == 20
    assert max(first) / min(first) < 1.003


def test_nodes_and_the_constant_add_up_to_the_whole(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    whole = sum(nodes_ms(path).values()) + CONSTANT_MS
    assert all(sample == pytest.approx(whole, rel=2e-3) for sample in samples(path, 20))


def test_macs_climb_in_steps_of_channels(tmp_path: Path) -> None:
    """Between 17 and 24 channels a convolution costs only the bytes it moves; at 25 a whole step more is computed."""
    widths = (17, 3 * CHANNEL_STEP, 3 * CHANNEL_STEP + 1)
    costs = [nodes_ms(write_conv_net(tmp_path / f"{w}.onnx", channels=w))["conv0a"] for w in widths]
    within, across = costs[1] - costs[0], costs[2] - costs[1]
    assert 0 < within < across
    pixels, kernel = 16 * 16, 9
    added = (32 * 32 - 24 * 24) * pixels * kernel / 2e7
    moved = 4 * (2 * pixels + kernel * (25 * 25 - 24 * 24) + 1) / 1e7
    assert across == pytest.approx(added + moved)


def test_batch_and_threads_change_the_time(tmp_path: Path) -> None:
    path = write_conv_net(tmp_path / "net.onnx")
    one = samples(path, 1)[0]
    assert samples(path, 1, Target(backend="fake", batch=4))[0] > 2 * one
    assert samples(path, 1, Target(backend="fake", threads=2))[0] < one
