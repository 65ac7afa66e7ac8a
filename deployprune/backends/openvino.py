"""OpenVINO on the CPU."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.feeds import check_feeds
from deployprune.backends.installed import installed
from deployprune.backends.openvino_counters import typical_times
from deployprune.backends.telemetry import forbid_telemetry
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OpenVinoBackend", "load_openvino"]

_HINT = "pip install openvino"


def load_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry; everything in deployprune that needs OpenVINO imports it through here.

    Raises BackendUnavailableError when it is not installed.
    """
    forbid_telemetry()
    try:
        return importlib.import_module("openvino")
    except ImportError as e:
        raise BackendUnavailableError(f"openvino cannot be imported: {e}", hint=_HINT) from e


class OpenVinoBackend:
    """Opens OpenVINO IR (``.xml`` with its ``.bin``): one stream, ``Target.threads`` threads, explicit precision.

    The precision is always set, because OpenVINO computes in bf16 by itself where the CPU can. Threads are not pinned:
    a pinned thread cannot leave a core that another process has taken. With as many threads as cores the runtime splits
    an operator evenly, so that one busy core halves the speed (measured): such figures need a quiet machine, and the
    interval and the control say whether it was.

    Its sparse weights (``CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE``) stay off: they act on int8 matrix products with AMX
    whose sizes are multiples of 64, never on weights in f32 or bf16.
    """

    name = "openvino"
    format = "openvino"
    precisions = ("f32", "bf16")

    def availability(self) -> Availability:
        """Whether the ``openvino`` distribution is installed."""
        return installed(self.name, "openvino", _HINT)

    def load(self) -> None:
        """Import OpenVINO and its CPU plug-in. Raises BackendUnavailableError when it is not installed."""
        load_openvino().Core().get_property("CPU", "FULL_DEVICE_NAME")

    def open(self, path: Path, target: Target) -> OpenVinoSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        return self._open(path, target, count=False)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times from the runtime's performance counters."""
        return typical_times(lambda: self._open(path, target, count=True), feeds, runs)

    def _open(self, path: Path, target: Target, *, count: bool) -> OpenVinoSession:
        require_file(path)
        check_target(self, target)
        core = load_openvino().Core()
        if target.precision.upper() not in {"F32", *core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")}:
            raise UsageError(f"this CPU cannot run OpenVINO at {target.precision}", hint="use --precision f32")
        try:
            model = core.read_model(str(path))
        except Exception as e:  # the runtime raises bare RuntimeErrors and others
            raise ExportError(f"OpenVINO cannot open {path}: {e}", hint="export the model again") from e
        _fix_batch(model, path, target.batch)
        try:
            compiled = core.compile_model(model, "CPU", _properties(target, count))
        except Exception as e:  # as above
            raise ExportError(f"OpenVINO cannot compile {path}: {e}", hint="export the model again") from e
        return OpenVinoSession(compiled)


def _properties(target: Target, count: bool) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": target.precision,
        "INFERENCE_NUM_THREADS": target.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": count,
    }


def _fix_batch(model: Any, path: Path, batch: int) -> None:
    """Give every dynamic first dimension the size ``batch``. Raises UsageError where that does not fix all shapes."""
    for port in model.inputs:
        shape = port.get_partial_shape()
        if shape.rank.is_dynamic or any(shape[i].is_dynamic for i in range(1, len(shape))):
            raise UsageError(
                f"input {port.get_any_name()!r} of {path} has the dynamic shape {shape}",
                hint="only the batch may be dynamic: export the model with fixed sizes elsewhere",
            )
        fixed = len(shape) == 0 or shape[0].is_static
        if fixed and batch != 1 and (len(shape) == 0 or shape[0].get_length() != batch):
            raise UsageError(
                f"input {port.get_any_name()!r} of {path} has the fixed shape {shape}, which is not batch {batch}",
                hint="export with a dynamic batch, or ask for the batch that the file has",
            )
    model.reshape(
        {
            port.get_any_name(): [batch, *(d.get_length() for d in list(port.get_partial_shape())[1:])]
            for port in model.inputs
            if port.get_partial_shape().is_dynamic
        }
    )


class OpenVinoSession(Closing):
    """One IR file, compiled by OpenVINO."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._bound: Any = None
        self._inputs = tuple(
            InputSpec(
                name=port.get_any_name(), shape=tuple(port.get_shape()), dtype=port.get_element_type().to_dtype().name
            )
            for port in compiled.inputs
        )

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        results = self._request.infer(feeds)
        return [results[port] for port in self._compiled.outputs]

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`, in a request of their own. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        tensor = load_openvino().Tensor
        request = self._compiled.create_infer_request()
        for name, array in feeds.items():
            request.set_tensor(name, tensor(array.copy()))
        self._bound = request

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs. Raises UsageError when nothing is bound."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        start = time.perf_counter_ns()
        self._bound.infer(share_outputs=True)
        return (time.perf_counter_ns() - start) / 1e6

    def counters(self) -> list[Any]:
        """The runtime's counters of every node, averaged over all inferences of this session so far."""
        counters: list[Any] = self._request.get_profiling_info()
        return counters

    def runtime_nodes(self) -> list[Any]:
        """The nodes of the graph as compiled, in the order they execute."""
        nodes: list[Any] = self._compiled.get_runtime_model().get_ordered_ops()
        return nodes

    def close(self) -> None:
        """Drop the runtime's requests and compiled model."""
        self._bound = self._request = self._compiled = None
