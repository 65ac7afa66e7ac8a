from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import hashlib
import sys
from pathlib import Path
import torch
from contract_net import write_net

for _ in range(int(sys.argv[3])):  # counters inside the exporters move on; the files must not
    path = write_net(sys.argv[1], Path(sys.argv[2]) / "m", channels=8, batch=1)
content = path.read_bytes()
assert sys.argv[2].encode() not in content
print(hashlib.sha256(content).hexdigest())
"""


def start(script: Path, name: str, root: Path, times: int, hash_seed: str) -> subprocess.Popen[str]:
    root.mkdir()
    script.write_text(PROGRAM)
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", str(script), name, str(root), str(times)]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("litert", "litert_torch"), ("executorch", "executorch")])
def test_equal_models_give_equal_bytes_from_other_processes_and_places(name: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package, reason=f"the {name} extra is not installed")
    processes = [
        start(tmp_path / "one.py", name, tmp_path / "a", 1, "1"),
        start(tmp_path / "another.py", name, tmp_path / "b", 2, "2"),
    ]
    hashes = [process.communicate(timeout=280)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert hashes[0] == hashes[1]
