from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from deployprune.host import describe_host, overheated, read_temperature


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


def make_sensor(folder: Path, name: str, temperature: int, **trips: int) -> None:
    """A sensor as Linux shows it: thousandths of a degree, and trip points by their type."""
    zone = folder / name
    zone.mkdir()
    (zone / "temp").write_text(f"{temperature}\n")
    for index, (kind, limit) in enumerate(trips.items()):
        (zone / f"trip_point_{index}_type").write_text(f"{kind}\n")
        (zone / f"trip_point_{index}_temp").write_text(f"{limit}\n")


def test_the_hottest_sensor_is_the_temperature(tmp_path: Path) -> None:
    assert read_temperature(tmp_path) is None
    make_sensor(tmp_path, "thermal_zone0", 41_500)
    make_sensor(tmp_path, "thermal_zone1", 48_000)
    make_sensor(tmp_path, "thermal_zone2", -274_000)  # nothing is connected
    make_sensor(tmp_path, "thermal_zone3", 2_000_000)
    assert read_temperature(tmp_path) == 48.0


def test_a_processor_is_too_hot_from_where_it_slows_down(tmp_path: Path) -> None:
    make_sensor(tmp_path, "thermal_zone0", 79_000, passive=80_000, critical=95_000)
    make_sensor(tmp_path, "thermal_zone1", 96_000, critical=110_000)
    make_sensor(tmp_path, "thermal_zone2", 2_000_000, passive=80_000)
    assert overheated(tmp_path) is None
    (tmp_path / "thermal_zone0/temp").write_text("80500\n")
    assert overheated(tmp_path) == (80.5, 80.0)
