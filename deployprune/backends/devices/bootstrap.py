"""What a device's Python is started with: it takes the agent's zip from its input if it has not got it, and runs it.

``python3 -c`` this text, then the zip's SHA-256 and its length, the client's name, and for how many seconds it waits
for the device. Kept to what any Python 3 understands, so that an old one can say that it is too old.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import IO

MARK = "deployprune-agent"


def take_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The process's input and output, for frames alone: what a runtime prints goes where errors do."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return reader, writer


def start() -> None:
    """Answer ``need``, ``ready`` or ``old``; then serve until the input ends."""
    digest, length, client, wait_s = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    reader, writer = take_streams()

    def say(word: str) -> None:
        writer.write(f"\n{MARK} {word}\n".encode())
        writer.flush()

    if sys.version_info < (3, 11):  # noqa: UP036 - it runs where nothing has checked the version
        say("old " + sys.version.split()[0])
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deployprune"
    cache.mkdir(parents=True, exist_ok=True)
    package = cache / f"agent-{digest[:16]}.zip"
    if not package.is_file() or hashlib.sha256(package.read_bytes()).hexdigest() != digest:
        say("need")
        data = reader.read(length)
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit("the agent did not arrive whole")
        fresh = package.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(data)
        fresh.replace(package)
    sys.path[:] = [str(package), *filter(None, sys.path)]  # never the folder it happens to be started in
    from deployprune.backends.devices.agent import Agent
    from deployprune.backends.devices.claim import Claim
    from deployprune.backends.devices.serving import serve
    from deployprune.backends.devices.store import ModelStore

    say("ready")
    serve(reader, writer, Agent(ModelStore(cache / "models"), Claim(cache / "lock", client, wait_s)))


if __name__ == "__main__":
    start()
