"""What stands in for a phone: adb's server side on loopback, as the real ``adb`` client speaks to it.

It speaks the smart socket protocol (``host:...``, transports), ``shell,v2`` and ``sync`` push. Commands run in this
machine's shell, with ``/data/local/tmp`` being a folder of the test.
"""

from __future__ import annotations

import shutil
import socketserver
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SERIAL = "emulator-5554"
_VERSION = 41
_PHONE_FOLDER = "/data/local/tmp"


@dataclass
class FakePhone:
    """The phone's files, what was asked of it, and how it feels."""

    folder: Path
    port: int = 0
    state: str = "device"
    fail_next: int = 0
    commands: list[str] = field(default_factory=list)
    pushes: list[str] = field(default_factory=list)

    def place(self, path: str) -> Path:
        """Where one of the phone's paths lies."""
        assert path.startswith(_PHONE_FOLDER), path
        return self.folder / path.removeprefix(_PHONE_FOLDER).lstrip("/")

    def run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        """Run a shell command."""
        self.commands.append(command)
        real = command.replace(_PHONE_FOLDER, str(self.folder))
        words = {"getprop ro.soc.model": "Made-up SoC", "getprop ro.build.version.release": "15"}
        if command in words:
            return subprocess.CompletedProcess(command, 0, words[command].encode() + b"\n", b"")
        return subprocess.run(["/bin/sh", "-c", real], capture_output=True, check=False)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while True:
            head = self.rfile.read(4)
            if len(head) < 4:
                return
            if not self._serve(self.rfile.read(int(head, 16)).decode()):
                return

    def _serve(self, request: str) -> bool:
        """Answer one request; whether the connection goes on."""
        phone = self.server.phone
        if request == "host:version":
            self._okay(f"{_VERSION:04x}")
            return False
        if request == "host:kill":
            self._okay("")
            return False
        problem = self._problem(request)
        if problem is not None:
            message = problem.encode()
            self.wfile.write(b"FAIL%04x" % len(message) + message)
            return False
        if request.endswith(":features") or request == "host:features":
            self._okay("shell_v2,cmd")
            return False
        if request.startswith("host:tport:"):
            self.wfile.write(b"OKAY" + struct.pack("<Q", 1))
            return True
        if request.startswith("host:transport"):
            self.wfile.write(b"OKAY")
            return True
        if request.startswith("shell,v2"):
            self.wfile.write(b"OKAY")
            self._shell(phone.run(request.partition(":")[2]))
            return False
        if request == "sync:":
            self.wfile.write(b"OKAY")
            self._sync()
            return False
        message = b"unknown host service"
        self.wfile.write(b"FAIL%04x" % len(message) + message)
        return False

    def _problem(self, request: str) -> str | None:
        phone = self.server.phone
        if request.startswith("host") and SERIAL not in request:
            return f"device '{request.rpartition(':')[2]}' not found"
        if phone.state != "device":
            return f"device {phone.state}"
        if phone.fail_next and request.startswith("host:t"):
            phone.fail_next -= 1
            return "device offline"
        return None

    def _okay(self, text: str) -> None:
        self.wfile.write(b"OKAY" + b"%04x" % len(text) + text.encode())

    def _shell(self, done: subprocess.CompletedProcess[bytes]) -> None:
        for kind, data in ((1, done.stdout), (2, done.stderr), (3, bytes([done.returncode & 255]))):
            if data:
                self.wfile.write(struct.pack("<BI", kind, len(data)) + data)

    def _sync(self) -> None:
        while True:
            kind, length = self.rfile.read(4), struct.unpack("<I", self.rfile.read(4))[0]
            if kind in (b"STAT", b"LST2", b"STA2"):
                place = self.server.phone.place(self.rfile.read(length).decode())
                mode, size = (place.stat().st_mode, place.stat().st_size) if place.exists() else (0, 0)
                self.wfile.write(b"STAT" + struct.pack("<III", mode, size, 0))
            elif kind == b"SEND":
                path = self.rfile.read(length).decode().rpartition(",")[0]
                self._receive(path)
            else:
                return

    def _receive(self, path: str) -> None:
        self.server.phone.pushes.append(path)
        place = self.server.phone.place(path)
        with place.open("wb") as stream:
            while True:
                kind, length = self.rfile.read(4), struct.unpack("<I", self.rfile.read(4))[0]
                if kind != b"DATA":
                    break
                stream.write(self.rfile.read(length))
        self.wfile.write(b"OKAY" + struct.pack("<I", 0))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, phone: FakePhone) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.phone = phone


@contextmanager
def fake_phone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePhone]:
    """A phone that the ``adb`` client of this process finds; the test is skipped where there is no client."""
    if shutil.which("adb") is None:
        pytest.skip("needs the adb client: apt-get install adb")
    phone = FakePhone(folder)
    server = _Server(phone)
    phone.port = server.server_address[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(phone.port))
    monkeypatch.delenv("ADB_SERVER_SOCKET", raising=False)
    monkeypatch.setenv("HOME", str(folder))  # where a client keeps its keys
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield phone
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
