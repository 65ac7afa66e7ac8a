from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os
import sys
from pathlib import Path
import torch
from torch import nn
from deployprune.export.artifact import file_artifact
from deployprune.export.onnx import export_onnx
from deployprune.export.openvino import export_openvino

torch.manual_seed(7)
model = nn.Sequential(
    nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
)
root = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):  # counters inside the exporters move on; the files must not
    export_onnx(model, (torch.randn(1, 3, 8, 8),), root / "m.onnx", input_names=["x"])
    export_openvino(root / "m.onnx", root / "m.xml")
assert sys.modules.get("openvino_telemetry") is None, "OpenVINO would report its use"
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
print(file_artifact(root / "m.onnx", root, "onnx").sha256, file_artifact(root / "m.xml", root, "openvino").sha256)
"""


def start(script: Path, root: Path, times: int, hash_seed: str) -> subprocess.Popen[str]:
    root.mkdir()
    script.write_text(PROGRAM)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, str(script), str(root), str(times)]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


def test_equal_models_give_equal_bytes_from_other_processes_and_places(tmp_path: Path) -> None:
    processes = [
        start(tmp_path / "one.py", tmp_path / "a", 1, "1"),
        start(tmp_path / "another.py", tmp_path / "b", 2, "2"),
    ]
    hashes = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(hashes[0]) == 2
    assert hashes[0] == hashes[1]
    for file in (tmp_path / "a").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
