"""A real OpenSSH server on loopback, with host and user keys of its own, for as long as a test wants it."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

_SERVER = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MISSING = "needs OpenSSH's server and client: apt-get install openssh-server"


def require_openssh() -> None:
    """Skip the test where OpenSSH is missing."""
    if _SERVER is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip(MISSING)


@dataclass
class SshServer:
    """A server whose keys and files lie in ``folder``; the client's configuration file knows its host key."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.port = self.port or _free_port()
        for name in ("host", "user"):
            make_key(self.folder / name)
        authorized = self.folder / "authorized"
        authorized.write_text((self.folder / "user.pub").read_text())
        authorized.chmod(0o600)
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        (self.folder / "config").write_text(
            f"IdentityFile {self.folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {self.folder}/known\n"
            "GlobalKnownHostsFile none\n"
        )
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {authorized}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            f"StrictModes no\nSetEnv XDG_CACHE_HOME={self.folder}/cache OMP_NUM_THREADS=1\n"
        )

    @property
    def url(self) -> str:
        """The address of this machine through the server; the device's Python is the one that runs the tests."""
        return (
            f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
            f"?python={quote(sys.executable)}&config={quote(str(self.folder / 'config'))}"
        )

    def start(self) -> None:
        """Listen."""
        assert _SERVER is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a server that root runs wants to separate its privileges
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen([_SERVER, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def cut(self) -> int:
        """Kill the processes that serve the connections, as a network does that breaks down; how many there were."""
        assert self.process is not None
        found = psutil.Process(self.process.pid).children(recursive=True)
        servers = [process for process in found if process.name() == "sshd" or "sshd" in " ".join(process.cmdline())]
        for process in servers:
            process.send_signal(signal.SIGKILL)
        return len(servers)

    def agents(self) -> list[psutil.Process]:
        """The agents that run on behalf of this server's devices."""
        return [p for p in psutil.process_iter(["environ", "cmdline"]) if _is_agent(p, str(self.folder / "cache"))]

    def stop(self) -> None:
        """Stop listening and cut what is connected."""
        if self.process is not None:
            self.cut()
            self.process.kill()
            self.process.wait()
            self.process = None


def make_key(path: Path) -> None:
    """A key pair without a passphrase: ``path`` and ``path.pub``."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, stdin=subprocess.DEVNULL
    )


def _is_agent(process: psutil.Process, cache: str) -> bool:
    environment, words = process.info["environ"] or {}, process.info["cmdline"] or []
    return environment.get("XDG_CACHE_HOME") == cache and any("deployprune-agent" in word for word in words)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
