from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_verification_needs_neither_torch_nor_a_runtime_to_be_imported() -> None:
    program = (
        "import sys\n"
        "from deployprune.verification import accuracy, budget, speedup\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
