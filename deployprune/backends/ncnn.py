"""ncnn on the CPU."""

from __future__ import annotations

import importlib
import time
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

    from deployprune.backends.ncnn_file import NcnnFile

__all__ = ["NcnnBackend"]

_HINT = "pip install 'deployprune[ncnn]'"


class NcnnBackend:
    """Opens ``.ncnn.param`` with its ``.ncnn.bin``: ``Target.threads`` threads, and no number narrower than asked for.

    ncnn stores and computes in fp16 by itself where the CPU can; that is off, on every side. Blocked layouts, Winograd
    and light mode (blobs are freed once read) are on, as they are where a model ships; memory comes from ncnn's pools,
    as in its own benchmark. A file runs at the batch that it was written with.
    """

    name = "ncnn"
    format = "ncnn"
    precisions = ("f32", "bf16")

    def availability(self) -> Availability:
        """Whether the ``ncnn`` distribution is installed."""
        return installed(self.name, "ncnn", _HINT)

    def load(self) -> None:
        """Import ncnn. Raises BackendUnavailableError when it is not installed."""
        _import_runtime()

    def open(self, path: Path, target: Target) -> NcnnSession:
        """Open ``path`` for ``target``; errors as in :class:`deployprune.backends.base.Backend`."""
        from deployprune.backends.ncnn_file import read_ncnn_file

        require_file(path)
        check_target(self, target)
        runtime = _import_runtime()
        weights = path.with_name(path.name.removesuffix(".param") + ".bin")
        file = read_ncnn_file(path)
        require_file(weights)
        for entry in file.inputs:
            shape_at_batch(path, entry.spec.name, entry.spec.shape, target.batch)
        net, pools = runtime.Net(), (runtime.UnlockedPoolAllocator(), runtime.PoolAllocator())
        _set_options(net.opt, target)
        net.opt.blob_allocator, net.opt.workspace_allocator = pools
        with held_output() as said:
            failed = net.load_param(str(path)) or net.load_model(str(weights))
        if failed:
            reason = said[0] if said else f"error {failed}"
            raise ExportError(f"ncnn cannot open {path}: {reason}", hint="export the model again")
        return NcnnSession(runtime, net, file, pools)

    def node_times(self, path: Path, target: Target, feeds: dict[str, np.ndarray], runs: int) -> tuple[NodeTime, ...]:
        """Per-layer times, from extracting one layer's outputs after the other's (ncnn has no profiler of its own)."""
        from deployprune.backends.ncnn_layers import typical_times

        with self.open(path, target) as session:
            return typical_times(session, feeds, runs)


def _import_runtime() -> ModuleType:
    try:
        return importlib.import_module("ncnn")
    except ImportError as e:
        raise BackendUnavailableError(f"ncnn cannot be imported: {e}", hint=_HINT) from e


def _set_options(options: Any, target: Target) -> None:
    options.num_threads = target.threads
    options.use_bf16_storage = options.use_bf16_packed = target.precision == "bf16"
    options.use_fp16_storage = options.use_fp16_packed = options.use_fp16_arithmetic = False
    options.use_vulkan_compute = False
    options.use_packing_layout = options.use_winograd_convolution = options.use_sgemm_convolution = True
    options.lightmode = True


class NcnnSession(Closing):
    """One network in ncnn."""

    def __init__(self, runtime: ModuleType, net: Any, file: NcnnFile, pools: tuple[Any, ...]) -> None:
        self._runtime = runtime
        self._extractor: Any = None
        self._net = net
        self._pools = pools  # below what holds memory of theirs: attributes are dropped from the top down
        self._file = file
        self._inputs = tuple(entry.spec for entry in file.inputs)
        self._bound: list[Any] | None = None

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """The inputs at the batch of the file."""
        return self._inputs

    @property
    def file(self) -> NcnnFile:
        """What the file says of the model."""
        return self._file

    @property
    def net(self) -> Any:
        """The runtime's network."""
        return self._net

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs in the model's order. Raises UsageError for wrong inputs, ExportError where a layer fails."""
        import numpy as np

        extractor = self.extractor(self.blobs(feeds))
        outputs = []
        for position, batch_index in enumerate(self._file.outputs):
            failed, blob = extractor.extract(f"out{position}")
            if failed:
                raise ExportError(f"ncnn fails on output {position}: error {failed}", hint="export the model again")
            outputs.append(np.array(blob.numpy(batch_index=batch_index)))
        return outputs

    def bind(self, feeds: dict[str, np.ndarray]) -> None:
        """Fix the inputs of :meth:`time_once`. Raises UsageError for wrong inputs."""
        self._bound = self.blobs(feeds)

    def time_once(self) -> float:
        """Milliseconds of one inference of the bound inputs. Raises UsageError when nothing is bound."""
        if self._bound is None:
            raise UsageError("no inputs are bound to this session", hint="call bind(feeds) before time_once()")
        start = time.perf_counter_ns()
        extractor = self.extractor(self._bound)
        for position in range(len(self._file.outputs)):
            extractor.extract(f"out{position}")
        return (time.perf_counter_ns() - start) / 1e6

    def blobs(self, feeds: dict[str, np.ndarray]) -> list[Any]:
        """The inputs as copies of the runtime's own. Raises UsageError for wrong inputs."""
        import numpy as np

        check_feeds(self._inputs, feeds)
        blobs = []
        for entry in self._file.inputs:
            array = np.ascontiguousarray(feeds[entry.spec.name])
            if array.dtype.itemsize > 4:  # ncnn has no wider numbers: indices fit
                array = array.astype(np.int32 if array.dtype.kind in "iu" else np.float32)
            blobs.append(self._runtime.Mat(array, batch_index=entry.batch_index).clone())
        return blobs

    def extractor(self, blobs: list[Any]) -> Any:
        """A new inference of these inputs, of which nothing is computed yet; the session's earlier one ends."""
        self._extractor = extractor = self._net.create_extractor()
        for position, blob in enumerate(blobs):
            extractor.input(f"in{position}", blob)
        return extractor

    def close(self) -> None:
        """Drop the runtime's network, and then the memory that it took, also from an inference that was interrupted."""
        if self._extractor is not None:
            self._extractor.clear()  # an interruption's traceback may hold on to it
        self._net = self._bound = self._extractor = None
        self._pools = ()
