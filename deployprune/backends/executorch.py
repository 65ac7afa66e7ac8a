"""ExecuTorch on the CPU, through XNNPACK."""

from __future__ import annotations

import importlib
import json
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.executorch_pool import join_pool, leave_pool, set_threads
from deployprune.backends.feeds import check_feeds, shape_at_batch
from deployprune.backends.installed import installed
from deployprune.backends.silence import held_stderr
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["INPUT_NAMES", "ExecuTorchBackend"]

INPUT_NAMES = "input_names"
"""The constant method of a ``.pte`` program that gives its inputs' names, as JSON: programs have positions only."""

_HINT = "pip install 'deployprune[executorch]'"
_METHOD = "forward"
_WARM_UP = 3
_DTYPES = {  # of ScalarType
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}


class ExecuTorchBackend:
    """Opens ``.pte`` programs, whose one thread pool a process is set to ``Target.threads`` before a program is loaded.

    Sessions that are open together must therefore ask for the same number of threads.
    """

    name = "executorch"
    format = "executorch"
    precisions = ("f32",)

    def availability(self) -> Availability:
        """Whether the ``executorch`` distribution is installed."""
        return installed(self.name, "executorch", _HINT)

    def load(self) -> None:
        """Import the runtime and start its pool. Raises BackendUnavailableError when it is not installed."""
        _import_runtime()

    def open(self, path: Path, target: Target) -> ExecuTorchSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        return self._open(path, target, trace=False)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times from the runtime's event tracer, whose file lives in a temporary directory."""
        from deployprune.backends.executorch_profile import read_events

        with (
            tempfile.TemporaryDirectory(prefix="deployprune-") as folder,
            self._open(path, target, trace=True) as session,
        ):
            for _ in range(_WARM_UP + runs):
                session.run(feeds)
            events = session.write_events(Path(folder) / "events.etdp")
            return read_events(events, path, skip=_WARM_UP)

    def _open(self, path: Path, target: Target, *, trace: bool) -> ExecuTorchSession:
        require_file(path)
        check_target(self, target)
        runtime = _import_runtime()
        set_threads(runtime, target.threads)
        with held_stderr():
            try:
                program = runtime._load_program(
                    str(path), enable_etdump=trace, program_verification=runtime.Verification.InternalConsistency
                )
                method = program.load_method(_METHOD)
            except (RuntimeError, ValueError) as e:
                raise ExportError(f"ExecuTorch cannot open {path}: {e}", hint="export the model again") from e
        session = ExecuTorchSession(program, method, _inputs(program, method, path, target.batch))
        join_pool(session)
        return session


def _import_runtime() -> ModuleType:
    """The native module itself: the packages around it import the whole exporter, which takes seconds and talks."""
    try:
        importlib.import_module("torch")  # the native module needs its libraries
        runtime = importlib.import_module("executorch.extension.pybindings._C")
    except ImportError as e:
        raise BackendUnavailableError(f"executorch cannot be imported: {e}", hint=_HINT) from e
    with held_stderr():
        runtime._threadpool_get_thread_count()
    return runtime


def _inputs(program: Any, method: Any, path: Path, batch: int) -> tuple[InputSpec, ...]:
    meta = method.method_meta()
    tensors = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
    names = _input_names(program, len(tensors))
    return tuple(
        InputSpec(
            name=name,
            shape=shape_at_batch(path, name, tuple(tensor.sizes()), batch),
            dtype=_dtype(tensor.dtype(), name, path),
        )
        for name, tensor in zip(names, tensors, strict=True)
    )


def _dtype(code: int, name: str, path: Path) -> str:
    if code not in _DTYPES:
        raise UsageError(f"input {name!r} of {path} has ExecuTorch's type {code}, which numpy lacks")
    return _DTYPES[code]


def _input_names(program: Any, count: int) -> list[str]:
    methods = [program.get_method_name(index) for index in range(program.num_methods())]
    if INPUT_NAMES in methods:
        names = json.loads(program.load_method(INPUT_NAMES).call([])[0])
        if len(names) == count:
            return [str(name) for name in names]
    return ["input"] if count == 1 else [f"input_{index}" for index in range(count)]


class ExecuTorchSession(Closing):
    """One ``.pte`` program, loaded."""

    def __init__(self, program: Any, method: Any, inputs: tuple[InputSpec, ...]) -> None:
        self._program = program
        self._method = method
        self._inputs = inputs
        self._bound: list[Any] | None = None

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs, whose batch is fixed in the file."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs."""
        return [output.numpy() for output in self._method.call(self._tensors(feeds)) if hasattr(output, "numpy")]

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs."""
        self._bound = self._tensors(feeds)

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs, which the runtime copies into its planned memory each
        time. Raises UsageError when nothing is bound."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        start = time.perf_counter_ns()
        self._method.set_inputs(self._bound)
        self._method.execute()
        return (time.perf_counter_ns() - start) / 1e6

    def write_events(self, path: Path) -> Path:
        """Write what the event tracer saw of all inferences so far to ``path``, and give it back."""
        self._program.write_etdump_result_to_file(str(path))
        return path

    def _tensors(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        check_feeds(self._inputs, feeds)
        import torch

        return [torch.tensor(feeds[spec.name]) for spec in self._inputs]

    def close(self) -> None:
        """Drop the program; the process's pool stays for the next one."""
        self._method = self._program = self._bound = None
        leave_pool(self)
