from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from deployprune.host import describe_host


def test_the_host_says_what_a_measurement_depends_on() -> None:
    host = describe_host()
    assert host.cpu
    assert host.cores >= 1
    assert host.memory_bytes > 2**28
    assert host.governor
    assert host.os
    assert host.python == ".".join(map(str, sys.version_info[:3]))
    assert host.versions["onnxruntime"] == version("onnxruntime")
    assert host.versions["openvino"] == version("openvino")


def test_describing_the_host_imports_no_runtime() -> None:
    program = (
        "import sys; from deployprune.host import describe_host; describe_host()\n"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
