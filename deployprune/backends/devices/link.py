"""One agent on one device, reached by the system's own ``ssh``, as its configuration says."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from deployprune import errors
from deployprune.backends.devices.address import DeviceAddress
from deployprune.backends.devices.bootstrap import MARK
from deployprune.backends.devices.package import agent_package
from deployprune.backends.devices.wire import FrameError, read_frame, write_frame
from deployprune.errors import DeployPruneError, DeviceError

__all__ = ["Link", "LinkLost", "open_link", "ssh_command", "start_link"]

_OPTIONS = (
    "BatchMode=yes",  # never a question: neither for a password nor for an unknown host
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
)
_NOISE = 200  # lines that a device's login may say before the agent does
_END_S = 5.0


class LinkLost(Exception):  # noqa: N818 - what has happened, not what somebody did wrong
    """The connection ended, or could not be made just now."""


class Link:
    """A running agent. Calls are answered one at a time; after any error but the agent's own it must be closed."""

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        """Take a process whose both streams are pipes, and the file that it says its errors to."""
        if process.stdin is None or process.stdout is None:
            raise ValueError("a link needs both streams of its process")
        self._process = process
        self._said = said
        self.reader: IO[bytes] = process.stdout
        self.writer: IO[bytes] = process.stdin

    def call(self, call: str, arguments: Mapping[str, Any], blocks: Sequence[bytes] = ()) -> tuple[Any, list[bytes]]:
        """The agent's result and its blocks.

        Raises LinkLost when the connection ends, and whatever error of deployprune's the agent answers with.
        """
        try:
            write_frame(self.writer, {"call": call, "arguments": dict(arguments)}, blocks)
            message, back = read_frame(self.reader)
        except (OSError, FrameError) as error:
            raise LinkLost(self.last_words() or str(error)) from error
        if "error" in message:
            raise _error(message)
        return message.get("result"), back

    def last_words(self) -> str:
        """The last line that ssh or the agent said on stderr."""
        return (self.words() or [""])[-1]

    def words(self) -> list[str]:
        """All lines of that."""
        self._said.seek(0)
        return [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]

    def end(self) -> int:
        """End the agent by ending its input, and ssh if that does not do; the exit code of ssh."""
        try:
            self.writer.close()
        except OSError:  # what was left unsent cannot be sent
            self._process.kill()
        try:
            return self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def close(self) -> None:
        """End the agent, and forget what it said."""
        self.end()
        self.reader.close()
        self._said.close()


def ssh_command(address: DeviceAddress, words: Sequence[str]) -> list[str]:
    """The local command that runs ``words`` on the device: an argument list, the remote words quoted one by one."""
    command = ["ssh", "-T", "-a", "-x"]
    if "config" in address.options:
        command += ["-F", address.options["config"]]
    for option in _OPTIONS:
        command += ["-o", option]
    if address.port is not None:
        command += ["-p", str(address.port)]
    if address.user is not None:
        command += ["-l", address.user]
    return [*command, "--", address.name, shlex.join(words)]


def start_link(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Link:
    """Start the program that an agent answers through. Raises OSError where it cannot be started."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - the link closes it
    try:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=environment,
            start_new_session=True,  # an interruption is ours to handle: the program ends when its input does
        )
    except BaseException:
        said.close()
        raise
    return Link(process, said)


def open_link(address: DeviceAddress, client: str, wait_s: float) -> Link:
    """Start the agent on the device, sending it first where it is missing or another version.

    ``client`` is the name under which it has the device, ``wait_s`` how long it waits for another client's leave.
    Raises DeviceError for what will not change by itself, LinkLost for what may.
    """
    package = agent_package()
    program = Path(__file__).with_name("bootstrap.py").read_text(encoding="utf-8")
    digest = hashlib.sha256(package).hexdigest()
    python = address.options.get("python", "python3")
    try:
        link = start_link(ssh_command(address, [python, "-c", program, digest, str(len(package)), client, str(wait_s)]))
    except FileNotFoundError as error:
        raise DeviceError("there is no ssh here", hint="apt-get install openssh-client") from error
    try:
        _greet(address, link, package)
    except (OSError, FrameError, LinkLost) as error:
        code = link.end()
        reason = _refusal(address, link.words(), code)
        link.close()
        raise reason from error
    except BaseException:
        link.close()
        raise
    return link


def _greet(address: DeviceAddress, link: Link, package: bytes) -> None:
    """Send the agent if it is asked for, and wait until it is ready."""
    for _ in range(_NOISE):
        line = link.reader.readline(4096)
        if not line:
            break
        mark, _, word = line.decode(errors="replace").strip().partition(" ")
        if mark != MARK:
            continue
        if word == "ready":
            return
        if word.startswith("old"):
            raise DeviceError(
                f"{address.url} has Python {word.partition(' ')[2]}, and the agent needs 3.11",
                hint="install a newer one there and name it: ssh://host?python=/path/to/python3",
            )
        link.writer.write(package)
        link.writer.flush()
    raise LinkLost("the agent did not start")


def _error(message: Mapping[str, Any]) -> DeployPruneError:
    """The agent's error as ours: by its class's name, if that is one of ours."""
    kind = getattr(errors, str(message["error"]), None)
    if not (isinstance(kind, type) and issubclass(kind, DeployPruneError)):
        kind = DeviceError
    return kind(str(message.get("text")), hint=message.get("hint"))


def _refusal(address: DeviceAddress, lines: list[str], code: int) -> Exception:
    """Why there is no agent, from what ssh and the device's shell said."""
    text, last = "\n".join(lines), (lines or [f"ssh ended with {code}"])[-1]
    port = f" -p {address.port}" if address.port else ""
    login = f"{address.user}@{address.name}" if address.user else address.name
    if "IDENTIFICATION HAS CHANGED" in text:
        hint = "somebody may be in between; if the device was set up anew, remove its old key with ssh-keygen -R"
        return DeviceError(f"the host key of {address.url} is not the one that is known", hint=hint)
    if "Host key verification failed" in text or "host key is known" in text:
        hint = (
            f"connect once by hand and compare its fingerprint (ssh{port} {login}), or fetch it with ssh-keyscan{port}"
        )
        return DeviceError(f"the host key of {address.url} is not known", hint=hint)
    if "Permission denied" in text:
        hint = f"give it your key (ssh-copy-id{port} {login}); a password is never asked for"
        return DeviceError(f"{address.url} does not let us in: {last}", hint=hint)
    if "Could not resolve" in text or "Bad configuration" in text or "Can't open user config" in text:
        return DeviceError(f"{address.url} cannot be reached: {last}", hint="check the address and ~/.ssh/config")
    if code in (126, 127):
        hint = "install python3 there, or name it: ssh://host?python=/path/to/python3"
        return DeviceError(f"{address.url} has no Python to run: {last}", hint=hint)
    if code != 255:  # ssh's own failures end with 255, all else is the device's
        missing = last.rpartition("No module named ")[2].strip("'") if "No module named" in last else None
        hint = f"install it for that Python: pip install {missing}" if missing else "see what its Python says"
        return DeviceError(f"the agent does not start on {address.url}: {last}", hint=hint)
    return LinkLost(last)
