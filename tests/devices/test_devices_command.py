from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ssh_server import SshServer

from deployprune.cli.main import cli


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["devices", *arguments])


def test_a_device_is_listed_with_what_it_has(server: SshServer) -> None:
    result = invoke("--json", "--device", server.url)
    assert result.exit_code == 0, result.stderr
    here, there = json.loads(result.stdout)
    assert (here["device"], there["device"]) == ("local", server.url)
    assert there["host"] == here["host"]
    assert there["backends"] == here["backends"]
    assert "onnxruntime" in invoke("--device", server.url).stdout


def test_the_configurations_devices_are_listed(server: SshServer, tmp_path: Path) -> None:
    text = f"target: {{speedup: 2x}}\ntargets:\n- {{backend: fake}}\n- {{backend: fake, device: '{server.url}'}}\n"
    (tmp_path / "deployprune.yaml").write_text(text)
    listed = json.loads(invoke("--json").stdout)
    assert [survey["device"] for survey in listed] == ["local", server.url]


def test_a_device_out_of_reach_is_listed_with_the_reason(own_server: SshServer) -> None:
    own_server.stop()
    result = invoke("--json", "--device", own_server.url)
    assert result.exit_code == 3
    _, gone = json.loads(result.stdout)
    assert "refused" in gone["problem"]
    assert gone["hint"]
    assert gone["host"] is None


def test_what_is_no_address_is_wrong_use() -> None:
    result = invoke("--device", "ssh://-oProxyCommand=x")
    assert result.exit_code == 2
