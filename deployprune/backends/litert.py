"""LiteRT on the CPU, through XNNPACK."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deployprune.backends.base import Closing, check_target, require_file
from deployprune.backends.feeds import check_feeds, shape_at_batch
from deployprune.backends.installed import installed
from deployprune.backends.silence import held_stderr
from deployprune.errors import BackendUnavailableError, ExportError, UsageError
from deployprune.records import Availability, InputSpec, NodeTime, Target

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LiteRtBackend"]

_HINT = "pip install 'deployprune[litert]'"


class LiteRtBackend:
    """Opens ``.tflite`` files: every operation that XNNPACK knows goes to it, with ``Target.threads`` threads.

    The delegate is asked for by name of the resolver that brings it, and computes in f32 as the file says. Inputs have
    the names of the file's signature, in the model's own order, not in the signature's alphabetical one.
    """

    name = "litert"
    format = "litert"
    precisions = ("f32",)

    def availability(self) -> Availability:
        """Whether the ``ai-edge-litert`` distribution is installed."""
        return installed(self.name, "ai-edge-litert", _HINT)

    def load(self) -> None:
        """Import the interpreter. Raises BackendUnavailableError when it is not installed."""
        _import_runtime()

    def open(self, path: Path, target: Target) -> LiteRtSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        require_file(path)
        check_target(self, target)
        runtime = _import_runtime()
        with held_stderr():
            try:
                interpreter = runtime.Interpreter(
                    model_path=str(path),
                    num_threads=target.threads,
                    experimental_op_resolver_type=runtime.OpResolverType.BUILTIN,
                )
                inputs = _fix_inputs(interpreter, path, target.batch)
                interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as e:  # what the interpreter raises for any file it cannot take
                raise ExportError(f"LiteRT cannot open {path}: {e}", hint="export the model again") from e
        return LiteRtSession(interpreter, inputs)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-node times from the profiler of the runtime's C interface; none where this build exports no profiler."""
        from deployprune.backends.litert_profile import profile_nodes

        with self.open(path, target) as session:
            check_feeds(session.inputs, feeds)
        return profile_nodes(path, target.threads, feeds, runs)


def _import_runtime() -> ModuleType:
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as e:
        raise BackendUnavailableError(f"ai_edge_litert cannot be imported: {e}", hint=_HINT) from e


def _fix_inputs(interpreter: Any, path: Path, batch: int) -> tuple[InputSpec, ...]:
    """The inputs in the graph's order at ``batch``; a dynamic first dimension is resized to it."""
    details = interpreter.get_input_details()
    names = _signature_names(interpreter)
    specs = []
    for detail in details:
        name = names.get(detail["index"], detail["name"])
        declared = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
        shape = shape_at_batch(path, name, declared, batch)
        if None in declared:
            interpreter.resize_tensor_input(detail["index"], shape, strict=True)
        specs.append(InputSpec(name=name, shape=shape, dtype=detail["dtype"]().dtype.name))
    return tuple(specs)


def _signature_names(interpreter: Any) -> dict[int, str]:
    """The inputs' names by tensor index in the file's first signature; a file without one has none."""
    key = next(iter(interpreter.get_signature_list()), None)
    if key is None:
        return {}
    found = interpreter.get_signature_runner(key).get_input_details()
    return {detail["index"]: name for name, detail in found.items()}


class LiteRtSession(Closing):
    """One ``.tflite`` file in the interpreter."""

    def __init__(self, interpreter: Any, inputs: tuple[InputSpec, ...]) -> None:
        self._interpreter = interpreter
        self._inputs = inputs
        self._indices = [detail["index"] for detail in interpreter.get_input_details()]
        self._bound: list[np.ndarray] | None = None
        self._holds_bound = False  # whether the interpreter's input tensors hold what was bound

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch the file was opened with."""
        return self._inputs

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        self._holds_bound = False
        self._fill([feeds[spec.name] for spec in self._inputs])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(detail["index"]) for detail in self._interpreter.get_output_details()]

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs."""
        check_feeds(self._inputs, feeds)
        self._bound = [feeds[spec.name].copy() for spec in self._inputs]
        self._holds_bound = False

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs. Raises UsageError when nothing is bound."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        if not self._holds_bound:
            self._fill(self._bound)
            self._holds_bound = True
        start = time.perf_counter_ns()
        self._interpreter.invoke()
        return (time.perf_counter_ns() - start) / 1e6

    def _fill(self, arrays: list[np.ndarray]) -> None:
        for index, array in zip(self._indices, arrays, strict=True):
            self._interpreter.set_tensor(index, array)

    def close(self) -> None:
        """Drop the interpreter with its threads."""
        self._interpreter = self._bound = None
