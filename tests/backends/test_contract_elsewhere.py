"""The same contract for backends of an agent: what goes through a real ssh server or to another process is no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ssh_server import SshServer, require_openssh
from test_contract import (  # noqa: F401 - fixtures and tests of this module too
    at_batch,
    path,
    target,
    test_a_broken_file_is_named,
    test_a_file_cut_short_is_named,
    test_a_fixed_batch_is_kept_or_refused,
    test_a_missing_file_is_a_usage_error,
    test_a_target_that_cannot_be_honoured_is_refused,
    test_availability_tells_the_version,
    test_closing_twice_is_harmless,
    test_node_names_do_not_depend_on_the_width,
    test_node_times_are_sane,
    test_nothing_is_left_behind,
    test_outputs_are_the_models,
    test_running_leaves_earlier_outputs_and_the_bound_inputs_alone,
    test_several_open_sessions_do_not_mix,
    test_time_needs_bound_inputs,
    test_wrong_inputs_are_refused_by_name,
    write,
)

from deployprune.backends.base import Backend
from deployprune.backends.devices.local import LocalDevice
from deployprune.backends.devices.remote import RemoteDevice


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteDevice]:
    """This machine, from outside."""
    require_openssh()
    server = SshServer(tmp_path_factory.mktemp("server"))
    server.start()
    reached = RemoteDevice(server.url)
    yield reached
    reached.close()
    server.stop()


PLACES = [
    *(("ssh", name) for name in ("onnxruntime", "openvino", "ncnn", "mnn")),
    *(pytest.param(("ssh", name), marks=pytest.mark.slow) for name in ("litert", "executorch")),
    *(("process", name) for name in ("onnxruntime", "openvino", "fake")),
]


@pytest.fixture(params=PLACES, ids="-".join)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    place, name = request.param
    if place == "ssh":
        yield request.getfixturevalue("device").backend(name)
        return
    with LocalDevice().fresh_backend(name) as fresh:
        yield fresh
