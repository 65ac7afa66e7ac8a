"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.feeds import check_feeds
from deployprune.backends.installed import installed
from deployprune.backends.telemetry import forbid_telemetry
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OnnxRuntimeBackend"]

_HINT = "pip install onnxruntime onnx"
_ERRORS_ONLY = 3  # severity; warnings about a file's style would land on the user's stderr
_WARM_UP = 5


class OnnxRuntimeBackend:
    """Opens ``.onnx`` files: every optimisation on, operators one after another, ``Target.threads`` threads in each.

    ``session.force_spinning_stop`` is set on every session. Inside one inference the pool spins between operators, as
    it does where the model ships; when the inference ends the pool sleeps. Without that, the pools of several open
    sessions spin on the cores of whichever is being timed (with 2 threads on 2 cores each would slow the other), and
    with spinning off altogether every operator would pay for a wake-up that a shipped model does not pay. What is
    left is one wake-up an inference, the same for all sides.
    """

    name = "onnxruntime"
    format = "onnx"
    precisions = ("f32",)

    def availability(self) -> Availability:
        """Whether the ``onnxruntime`` distribution is installed, and ``onnx``, which reads the shapes of a file."""
        return installed(self.name, "onnxruntime", _HINT, "onnx")

    def load(self) -> None:
        """Import ONNX Runtime, and onnx to read shapes. Raises BackendUnavailableError when it is not installed."""
        _import_runtime()
        importlib.import_module("deployprune.backends.onnx_file")

    def open(self, path: Path, target: Target) -> OnnxRuntimeSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        return self._open(path, target, profile_prefix=None)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times from the runtime's profiler, whose file lives in a temporary directory."""
        from deployprune.backends.onnxruntime_profile import read_profile

        with tempfile.TemporaryDirectory(prefix="deployprune-") as folder:
            with self._open(path, target, profile_prefix=str(Path(folder) / "profile")) as session:
                for _ in range(_WARM_UP + runs):
                    session.run(feeds)
                profile = session.end_profiling()
            return read_profile(profile, path, target.batch, skip=_WARM_UP)

    def _open(self, path: Path, target: Target, profile_prefix: str | None) -> OnnxRuntimeSession:
        require_file(path)
        check_target(self, target)
        runtime = _import_runtime()
        from deployprune.backends.onnx_file import free_dimensions, input_specs, read_inputs

        inputs = input_specs(path, target.batch)
        options = _options(runtime, target)
        for name in free_dimensions(read_inputs(path)):
            options.add_free_dimension_override_by_name(name, target.batch)
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as e:  # the runtime's exceptions share no base class
            raise ExportError(f"ONNX Runtime cannot open {path}: {e}", hint="export the model again") from e
        return OnnxRuntimeSession(session, inputs)


def _import_runtime() -> ModuleType:
    forbid_telemetry()
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as e:
        raise BackendUnavailableError(f"onnxruntime cannot be imported: {e}", hint=_HINT) from e


def _options(runtime: ModuleType, target: Target) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


class OnnxRuntimeSession(Closing):
    """One ``.onnx`` file in ONNX Runtime."""

    def __init__(self, session: Any, inputs: tuple[InputSpec, ...]) -> None:
        self._session = session
        self._binding: Any = None
        self._inputs = inputs

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        outputs: list[np.ndarray] = self._session.run(None, feeds)
        return outputs

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        binding = self._session.io_binding()
        for name, array in feeds.items():
            binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            binding.bind_output(output.name)
        self._binding = binding

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs. Raises UsageError when nothing is bound."""
        if self._binding is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        start = time.perf_counter_ns()
        self._session.run_with_iobinding(self._binding)
        return (time.perf_counter_ns() - start) / 1e6

    def end_profiling(self) -> Path:
        """Stop the profiler, if it was on, and give the file that it wrote."""
        return Path(self._session.end_profiling())

    def close(self) -> None:
        """Drop the runtime's session."""
        self._session = self._binding = None
