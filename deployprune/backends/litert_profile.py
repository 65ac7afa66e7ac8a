"""LiteRT's profiler, as node times: its wheel exports it in C only, so it is called through ctypes.

The functions and structures are those of ``litert/c/litert_profiler.h`` and its neighbours in LiteRT's repository.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections import defaultdict
from contextlib import ExitStack
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployprune.backends.litert_file import operation_kind, read_operations
from deployprune.backends.silence import held_stderr
from deployprune.backends.typical import middle_mean
from deployprune.backends.xnnpack import name_nodes
from deployprune.errors import ExportError
from deployprune.records import NodeTime

if TYPE_CHECKING:
    import numpy as np

__all__ = ["profile_nodes"]

_WARM_UP = 3
_CPU = 1  # of LiteRtHwAccelerators
_HOST_MEMORY = 1  # of LiteRtTensorBufferType
_WRITE = 1  # of LiteRtTensorBufferLockMode
_OPERATOR, _INSIDE_DELEGATE = 2, 8  # of LiteRtProfilerEventType
_DELEGATE = "Delegate"  # the operator that stands for all those inside
_FIRST = c_size_t(0)  # signature
_WIDEST = 8  # bytes of an element


class _Memory(ctypes.Structure):
    _fields_ = (("total", c_size_t), ("in_use", c_size_t), ("private", c_size_t))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p),
        ("kind", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory_before", _Memory),
        ("memory_after", _Memory),
        ("index", c_uint64),
        ("more", c_uint64),
        ("source", c_int),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element", c_int), ("rank_and_flags", c_uint), ("sizes", c_int32 * 8), ("strides", c_uint32 * 8))


def profile_nodes(path: Path, threads: int, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
    """Every kernel's typical ms over ``runs`` inferences of ``path``.

    Empty where this build of the runtime exports no profiler. Raises ExportError when it refuses the file.
    """
    library = _load_library()
    if library is None:
        return ()
    times: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    with held_stderr(), ExitStack() as stack:
        model = _Profiled(library, path, threads, stack)
        model.fill(feeds)
        for _ in range(_WARM_UP):
            model.run()
        for _ in range(runs):
            for position, (kernel, microseconds) in enumerate(model.run()):
                times[position, kernel].append(microseconds)
    ms = [middle_mean(values) / 1e3 for values in times.values()]
    return name_nodes([kernel for _, kernel in times], ms, read_operations(path))


def _load_library() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("ai_edge_litert")
    folders = (spec.submodule_search_locations if spec else None) or ()
    file = next((file for folder in folders for file in Path(folder).glob("libLiteRt.*")), None)
    library = ctypes.CDLL(str(file)) if file else None
    return library if hasattr(library, "LiteRtCompiledModelGetProfiler") else None


class _Profiled:
    """One model, compiled with its profiler on; all that it holds is freed when ``stack`` is left."""

    def __init__(self, library: ctypes.CDLL, path: Path, threads: int, stack: ExitStack) -> None:
        self._library, self._path, self._stack = library, path, stack
        self._environment = self._make("LiteRtCreateEnvironment", 0, None, free="LiteRtDestroyEnvironment")
        model = self._make("LiteRtCreateModelFromFile", self._environment, bytes(path), free="LiteRtDestroyModel")
        options = self._make("LiteRtCreateOptions", free="LiteRtDestroyOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        self._add_options(options, b"runtime_options_string", b"enable_profiling = true\n")
        self._add_options(options, b"xnnpack", f"num_threads = {threads}\n".encode())
        self._compiled = self._make(
            "LiteRtCreateCompiledModel", self._environment, model, options, free="LiteRtDestroyCompiledModel"
        )
        self._profiler = self._make("LiteRtCompiledModelGetProfiler", self._compiled)
        self._signature = self._make("LiteRtGetModelSignature", model, _FIRST)
        self._inputs, self._outputs = self._buffers("Input"), self._buffers("Output")

    def fill(self, feeds: dict[str, np.ndarray]) -> None:
        """Set the inputs by their names in the signature."""
        for name, buffer in self._inputs.items():
            place = c_void_p()
            self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(place), _WRITE)
            ctypes.memmove(place, feeds[name].tobytes(), feeds[name].nbytes)
            self._call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> list[tuple[str, float]]:
        """One inference: every kernel's name and microseconds, in the order they ran."""
        self._call("LiteRtStartProfiler", self._profiler)  # which forgets what was before
        self._call("LiteRtRunCompiledModel", self._compiled, _FIRST, *_array(self._inputs), *_array(self._outputs))
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [
            (_kernel(event), float(event.elapsed_us))
            for event in events
            if event.kind in (_OPERATOR, _INSIDE_DELEGATE) and not event.tag.decode().endswith(_DELEGATE)
        ]

    def _add_options(self, options: c_void_p, name: bytes, text: bytes) -> None:
        """Options travel as text in a C string that their owner frees."""
        c = ctypes.CDLL(None)
        c.strdup.restype = c_void_p
        made = self._make("LiteRtCreateOpaqueOptions", name, c_void_p(c.strdup(text)), ctypes.cast(c.free, c_void_p))
        self._call("LiteRtAddOpaqueOptions", options, made)

    def _buffers(self, side: str) -> dict[str, c_void_p]:
        """A buffer for every input or output of the signature, by name."""
        count = c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", self._signature, ctypes.byref(count))
        return dict(self._buffer(side, c_size_t(index)) for index in range(count.value))

    def _buffer(self, side: str, index: c_size_t) -> tuple[str, c_void_p]:
        name, kind = c_char_p(), _TensorType()
        self._call(f"LiteRtGetSignature{side}Name", self._signature, index, ctypes.byref(name))
        tensor = self._make(f"LiteRtGetSignature{side}TensorByIndex", self._signature, index)
        self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
        size = prod(kind.sizes[: kind.rank_and_flags & 0x7F]) * _WIDEST
        made = self._make(
            "LiteRtCreateManagedTensorBuffer",
            self._environment,
            _HOST_MEMORY,
            ctypes.byref(kind),
            c_size_t(size),
            free="LiteRtDestroyTensorBuffer",
        )
        return (name.value or b"").decode(), made

    def _make(self, function: str, *arguments: Any, free: str | None = None) -> c_void_p:
        """What ``function`` gives through its last parameter; ``free`` is called on it in the end."""
        made = c_void_p()
        self._call(function, *arguments, ctypes.byref(made))
        if free is not None:
            self._stack.callback(getattr(self._library, free), made)
        return made

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise ExportError(
                f"LiteRT cannot profile {self._path}: {function} gave status {status}", hint="export the model again"
            )


def _kernel(event: _Event) -> str:
    tag: str = event.tag.decode()
    return operation_kind(tag) if event.kind == _OPERATOR else tag


def _array(buffers: dict[str, c_void_p]) -> tuple[c_size_t, Any]:
    return c_size_t(len(buffers)), (c_void_p * len(buffers))(*buffers.values())
