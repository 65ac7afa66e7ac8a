"""ONNX to MNN: one ``.mnn`` file with float32 weights, at one batch.

Also the program that converts, for a process of its own: ``python -m deployprune.export.mnn ARGUMENTS``. MNN's own
command lines install a telemetry package when they are imported, and report what was converted; only the native
converter below them is used here, which does neither.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from deployprune.errors import BackendUnavailableError, ExportError
from deployprune.export.child import run_module
from deployprune.export.fixed import write_fixed
from deployprune.export.staging import staged
from deployprune.export.trial import require_runnable
from deployprune.records import InputSpec

__all__ = ["export_mnn"]

_HINT = "pip install 'deployprune[mnn]'"
_CONVERTER = "_tools"  # the native module of MNN's distribution
_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COMPLAINT = re.compile(r"not support|error|failed|check failed", re.IGNORECASE)


def export_mnn(onnx_path: Path, inputs: Sequence[InputSpec], path: Path, *, sparse: bool = False) -> None:
    """Write the model of ``onnx_path`` as ``path`` (``.mnn``), for inputs like these.

    With ``sparse``, layers whose weights are zero often enough by the converter's own rule are stored for MNN's sparse
    kernels. The file is run once, in a process of its own, for some models crash it. Raises BackendUnavailableError
    without MNN, and ExportError for a model that cannot be converted or run.
    """
    if importlib.util.find_spec(_CONVERTER) is None:
        raise BackendUnavailableError("MNN, whose converter writes its files, is not installed", hint=_HINT)
    with staged(path) as place, tempfile.TemporaryDirectory(prefix="deployprune-") as folder:
        write_fixed(onnx_path, [spec.shape for spec in inputs], Path(folder, "net.onnx"))
        described = json.dumps({"dtypes": [spec.dtype for spec in inputs]})
        arguments = ["-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--bizCode", described]
        arguments += ["--detectSparseSpeedUp"] if sparse else []
        said = run_module(__name__, arguments, folder=Path(folder), what=f"MNN cannot convert {onnx_path}")
        written = Path(folder, "net.mnn")
        if not written.is_file():
            complaints = [line for line in said.splitlines() if _COMPLAINT.search(line)]
            raise ExportError(
                f"MNN cannot convert {onnx_path}: {'; '.join(complaints) or 'it wrote no file'}",
                hint="rewrite the operation that it names in the model, or choose another backend",
            )
        place.write_bytes(_named_by_content(written.read_bytes()))
        require_runnable("mnn", place, inputs[0].shape[0] if inputs[0].shape else 1)


def _named_by_content(model: bytes) -> bytes:
    """The file with the random identifier that every conversion draws replaced by one that depends on the rest."""
    found = _UUID.search(model)
    if found is None:
        return model
    start, end = found.span()
    name = uuid.uuid5(uuid.NAMESPACE_OID, (model[:start] + model[end:]).hex())
    return model[:start] + str(name).encode() + model[end:]


if __name__ == "__main__":
    importlib.import_module(_CONVERTER).mnnconvert(["mnnconvert", *sys.argv[1:]])
