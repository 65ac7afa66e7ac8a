"""``deployprune`` in processes of their own that start fast: forked from one that has imported everything already.

As a program this is that process: it reads one request a line and answers with the exit code. A request may also say
where its process is to be killed (``kill -9``), and how large the files may be that it writes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), and what it said."""

    code: int
    stdout: str
    stderr: str


class WarmProcess:
    """Runs ``deployprune`` again and again; a context."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{Path(__file__).parent}"}
        environment["OMP_NUM_THREADS"] = "1"  # bits depend on the number of threads, and tests share the cores
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    def run(self, *arguments: str, cwd: Path, **request: Any) -> Ended:
        """Run the command line ``arguments`` in ``cwd``; ``request`` is what :func:`_prepare` understands."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            said = [Path(folder) / name for name in ("out", "err")]
            line = {"arguments": arguments, "cwd": str(cwd), "said": [str(path) for path in said], **request}
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return Ended(code, *(path.read_text() for path in said))


def serve() -> None:
    import deployprune.api
    import deployprune.cli.compress  # noqa: F401 - so that the children have both

    _warm_up()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Let torch import what it imports at its first capture and export, once for all children."""
    import torch
    from toy_project import SIDE, network

    from deployprune.export.onnx import export_onnx
    from deployprune.graph.analysis import analyze

    module, images = network(4).eval(), torch.zeros(1, 1, SIDE, SIDE)
    analyze(module, (images,))
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(module, (images,), Path(folder) / "net.onnx", input_names=["x"])


def _become(request: dict[str, Any]) -> None:
    """End this process as ``deployprune`` with the request's arguments."""
    os.chdir(request["cwd"])
    for path, stream in zip(request["said"], (1, 2), strict=True):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _prepare(request)
    from deployprune.cli.main import main

    sys.argv = ["deployprune", *request["arguments"]]
    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(int(end.code or 0))


def _prepare(request: dict[str, Any]) -> None:
    """``kill_after``: a step's name; ``kill_in_epoch``: a number; ``kill_on_moving``: the file about to appear."""
    if "kill_after" in request:
        _kill_after(request["kill_after"])
    if "kill_in_epoch" in request:
        _kill_in_epoch(request["kill_in_epoch"])
    if "kill_on_moving" in request:
        _kill_on_moving(request["kill_on_moving"])
    if "largest_file" in request:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], resource.RLIM_INFINITY))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_after(name: str) -> None:
    from deployprune.rundir import RunDirectory

    write = RunDirectory.write

    def write_and_die(self: RunDirectory, step: Any, *rest: Any) -> None:
        write(self, step, *rest)
        if step.name == name:
            _kill()

    RunDirectory.write = write_and_die  # type: ignore[method-assign]


def _kill_in_epoch(number: int) -> None:
    from deployprune.training.trainer import Trainer

    run_epoch = Trainer.run_epoch

    def run_epoch_or_die(self: Trainer, epoch: int, *rest: Any) -> float:
        if epoch == number:
            _kill()
        return run_epoch(self, epoch, *rest)

    Trainer.run_epoch = run_epoch_or_die  # type: ignore[method-assign]


def _kill_on_moving(name: str) -> None:
    replace = Path.replace

    def replace_or_die(self: Path, target: Any) -> Path:
        if Path(target).name == name:
            _kill()
        return replace(self, target)

    Path.replace = replace_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    serve()
