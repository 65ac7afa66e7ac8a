"""The system's own ``adb``, one command at a time, each an argument list whose remote words are quoted one by one."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from deployprune.errors import DeviceError

__all__ = ["AdbClient"]

_PAUSES_S = (0.5, 2.0, 10.0, 30.0)  # between tries: a phone that reboots takes most of a minute
_LIMIT_S = 600
_GONE = ("offline", "not found", "no devices", "closed", "protocol fault", "connection reset", "still authorizing")
_FOLDER = "/data/local/tmp/deployprune"


class AdbClient:
    """Commands to one phone. Raises DeviceError for a phone that is not there, or that was and does not come back."""

    def __init__(self, serial: str) -> None:
        self._serial = serial
        self._was_there = False
        self._sent: dict[str, str] = {}

    def shell(self, words: Sequence[str]) -> str:
        """What ``words`` print on both streams. Raises DeviceError when they fail."""
        done = self._adb("shell", shlex.join(words))
        text = done.stdout + done.stderr
        if done.returncode != 0:
            last = (text.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise DeviceError(f"{words[0]} failed on {self._serial}: {last}", hint="see what adb shell says")
        return text

    def ask(self, words: Sequence[str]) -> str:
        """What ``words`` print, or nothing when they fail."""
        done = self._adb("shell", shlex.join(words))
        return done.stdout.strip() if done.returncode == 0 else ""

    def send(self, files: Sequence[Path], *, executable: bool = False) -> str:
        """The first file's path on the phone, where the files lie together; each content travels once."""
        contents = [file.read_bytes() for file in files]
        whole = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()
        folder = f"{_FOLDER}/{whole[:32]}"
        place = f"{folder}/{files[0].name}"
        if self._sent.get(whole) == place:
            return place
        for file, content in zip(files, contents, strict=True):
            self._send_one(file, len(content), f"{folder}/{file.name}")
        if executable:
            self.shell(["chmod", "755", place])
        self._sent[whole] = place
        return place

    def _send_one(self, file: Path, size: int, place: str) -> None:
        if self.ask(["stat", "-c", "%s", place]) == str(size):
            return
        self.shell(["mkdir", "-p", place.rpartition("/")[0]])
        part = f"{place}.part"
        done = self._adb("push", str(file), part)
        if done.returncode != 0:
            last = ((done.stdout + done.stderr).strip().splitlines() or ["adb push failed"])[-1]
            raise DeviceError(
                f"{file.name} could not be sent to {self._serial}: {last}", hint="see whether its storage is full"
            )
        self.shell(["mv", part, place])

    def _adb(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, again after a while where a phone that was there has gone."""
        for pause in (*_PAUSES_S, None):
            done = _run(["adb", "-s", self._serial, *words])
            problem = _problem(done)
            if problem is None:
                self._was_there = True
                return done
            if pause is None or not self._was_there:
                break
            time.sleep(pause)
        hint = "see what `adb devices` says; a run goes on with --resume"
        if "unauthorized" in str(problem):
            hint = "unlock the phone and allow USB debugging for this computer"
        raise DeviceError(f"the phone {self._serial} cannot be used: {problem}", hint=hint)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeviceError("there is no adb here", hint="apt-get install adb, or the SDK's platform-tools") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"adb did not answer within {_LIMIT_S} s", hint="see what `adb devices` says") from error


def _problem(done: subprocess.CompletedProcess[str]) -> str | None:
    """Why adb itself could not reach the phone, or None where it did, whatever came of the command."""
    said = (done.stderr + done.stdout).splitlines()  # adb push complains on stdout
    lines = [line for line in said if line.startswith(("error:", "adb: error:", "adb: device"))]
    if done.returncode == 0 or not lines:
        return None
    text = lines[-1].partition("error:")[2].strip() or lines[-1]
    known = any(word in text for word in (*_GONE, "unauthorized", "cannot connect", "failed to get feature set"))
    return text if known else None
