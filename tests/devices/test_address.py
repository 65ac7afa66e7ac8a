from __future__ import annotations

import re

import pytest

from deployprune.backends.devices.address import device_label, parse_device
from deployprune.backends.devices.link import ssh_command
from deployprune.backends.registry import device_of
from deployprune.errors import UsageError
from deployprune.pipeline.targets import target_key
from deployprune.records import Target


def test_an_address_has_its_parts() -> None:
    address = parse_device("ssh://pi@board.local:2222?python=/opt/my%20env/bin/python")
    assert (address.scheme, address.user, address.name, address.port) == ("ssh", "pi", "board.local", 2222)
    assert address.options == {"python": "/opt/my env/bin/python"}
    assert parse_device("adb://192.168.1.7:5555").name == "192.168.1.7:5555"


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=touch%20x",
        "ssh://-oProxyCommand=touch",
        "ssh://-l@board",
        "ssh://board/path",
        "ssh://board:0",
        "ssh://a b",
        "ssh://board;reboot",
        "ssh://",
        "ssh://board?shell=1",
        "ssh://board?python=",
        "adb://-s",
        "adb://x?python=3",
        "telnet://board",
        "board",
        "",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        device_of(url)
    assert caught.value.hint


def test_the_remote_words_are_quoted_and_the_local_ones_are_a_list() -> None:
    command = ssh_command(parse_device("ssh://pi@board:2222"), ["my python", "-c", "print('$HOME; \"x\"')"])
    assert command[0] == "ssh"
    assert command[-3:] == ["--", "board", "'my python' -c 'print('\"'\"'$HOME; \"x\"'\"'\"')'"]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(command)
    assert command[command.index("-p") + 1] == "2222"
    assert command[command.index("-l") + 1] == "pi"


def test_a_device_is_part_of_a_targets_key_and_safe_in_file_names() -> None:
    urls = ["local", "ssh://pi@board:1", "ssh://pi@board:2", "ssh://board", "adb://board", "ssh://board?python=/a/b"]
    keys = [target_key(Target(backend="onnxruntime", device=url)) for url in urls]
    assert len(set(keys)) == len(urls)
    assert keys[0] == "onnxruntime-t1-f32-b1"
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)
    assert device_label("ssh://pi@board:1").startswith("board-")
