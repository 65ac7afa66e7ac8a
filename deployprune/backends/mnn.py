"""MNN on the CPU."""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.feeds import check_feeds, shape_at_batch
from deployprune.backends.installed import installed
from deployprune.backends.silence import held_output
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MnnBackend"]

_HINT = "pip install 'deployprune[mnn]'"


class MnnBackend:
    """Opens ``.mnn`` files: ``Target.threads`` threads, and ``high`` precision, which is f32 on every CPU.

    Convolutions are left as MNN ships them, Winograd's included, whose large tiles round to about 1e-3 of the largest
    value (measured). A file runs at the batch that it was written with.
    """

    name = "mnn"
    format = "mnn"
    precisions = ("f32",)

    def availability(self) -> Availability:
        """Whether the ``MNN`` distribution is installed."""
        return installed(self.name, "MNN", _HINT)

    def load(self) -> None:
        """Import MNN. Raises BackendUnavailableError when it is not installed."""
        _import_runtime()

    def open(self, path: Path, target: Target) -> MnnSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        require_file(path)
        check_target(self, target)
        runtime = _import_runtime()
        said: list[str] = []
        try:
            with held_output() as said:
                ports = _read_ports(path, target)
                interpreter = runtime.Interpreter(str(path))
                session = interpreter.createSession(_config(target))
        except Exception as e:  # the binding raises bare exceptions, and says on the console why
            reason = next((line for line in said if line.strip()), str(e))
            raise ExportError(f"MNN cannot open {path}: {reason}", hint="export the model again") from e
        opened = MnnSession(runtime, interpreter, session, ports)
        for spec in opened.inputs:
            shape_at_batch(path, spec.name, spec.shape, target.batch)
        return opened

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-operation times, from callbacks before and after each."""
        from deployprune.backends.mnn_operations import typical_times

        with self.open(path, target) as session:
            return typical_times(session, feeds, runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ports:
    """Names in the model's order, which a session does not keep, and the inputs' types where the file says them."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dtypes: tuple[str, ...]


def _import_runtime() -> ModuleType:
    try:
        with held_output():
            return importlib.import_module("MNN")
    except ImportError as e:
        raise BackendUnavailableError(f"mnn cannot be imported: {e}", hint=_HINT) from e


def _config(target: Target) -> dict[str, Any]:
    return {
        "backend": "CPU",
        "numThread": target.threads,
        "precision": "high",
        "memory": "normal",
        "power": "normal",
    }


def _read_ports(path: Path, target: Target) -> _Ports:
    """Read through MNN's other interface, with the target's threads: its default would fill the shared pool with 4."""
    interface = importlib.import_module("MNN.nn")
    manager = interface.create_runtime_manager((_config(target),))
    found = interface.load_module_from_file(str(path), [], [], runtime_manager=manager).get_info()
    try:
        dtypes = json.loads(found["bizCode"])["dtypes"]
    except (KeyError, TypeError, ValueError):  # a file that others wrote
        dtypes = ()
    return _Ports(inputs=tuple(found["inputNames"]), outputs=tuple(found["outputNames"]), dtypes=tuple(dtypes))


class MnnSession(Closing):
    """One ``.mnn`` file in MNN."""

    def __init__(self, runtime: ModuleType, interpreter: Any, session: Any, ports: _Ports) -> None:
        self._runtime = runtime
        self._interpreter = interpreter
        self._session = session
        inputs, outputs = interpreter.getSessionInputAll(session), interpreter.getSessionOutputAll(session)
        self._places = [inputs[name] for name in ports.inputs]
        self._results = [outputs[name] for name in ports.outputs]
        dtypes = ports.dtypes or tuple(self._dtype(place) for place in self._places)
        self._inputs = tuple(
            InputSpec(name=name, shape=tuple(place.getShape()), dtype=dtype)
            for name, place, dtype in zip(ports.inputs, self._places, dtypes, strict=True)
        )
        self._bound: list[Any] | None = None

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch of the file."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs."""
        self.fill(self.tensors(feeds))
        self._interpreter.runSession(self._session)
        return [self._fetch(result) for result in self._results]

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs."""
        self._bound = self.tensors(feeds)

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs. Raises UsageError when nothing is bound."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        self.fill(self._bound)
        start = time.perf_counter_ns()
        self._interpreter.runSession(self._session)
        return (time.perf_counter_ns() - start) / 1e6

    def run_watched(self, before: Any, after: Any) -> None:
        """One inference, with ``before`` and ``after`` called for every operation with its tensors and what it is."""
        self._interpreter.runSessionWithCallBackInfo(self._session, before, after)

    def tensors(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """The inputs as copies in the runtime's own tensors. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        pairs = zip(self._inputs, self._places, strict=True)
        return [self._tensor(place, feeds[spec.name]) for spec, place in pairs]

    def fill(self, tensors: list[Any]) -> None:
        """Put the inputs where the next inference reads them; it may use their memory for itself afterwards."""
        for place, tensor in zip(self._places, tensors, strict=True):
            place.copyFrom(tensor)

    def _fetch(self, result: Any) -> np.ndarray:
        """A copy that outlives the session."""
        import numpy as np

        held = self._tensor(result, np.zeros(result.getShape()))
        result.copyToHostTensor(held)
        return np.array(held.getNumpyData())

    def _tensor(self, like: Any, values: np.ndarray) -> Any:
        """``values`` in the type of another tensor (MNN's integers have 32 bits), rows first."""
        import numpy as np

        array = np.ascontiguousarray(values, self._dtype(like))
        layout = self._runtime.Tensor_DimensionType_Caffe
        return self._runtime.Tensor(tuple(like.getShape()), like.getDataType(), array, layout)

    def _dtype(self, tensor: Any) -> str:
        kinds = {
            self._runtime.Halide_Type_Float: "float32",
            self._runtime.Halide_Type_Int: "int32",
            self._runtime.Halide_Type_Uint8: "uint8",
        }
        return kinds[tensor.getDataType()]

    def close(self) -> None:
        """Drop the runtime's session and network."""
        self._places, self._results = [], []
        self._bound = self._session = self._interpreter = None
