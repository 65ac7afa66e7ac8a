"""A program that prints what three benchmarks do (LiteRT, ONNX Runtime, ncnn); its time is a law of the file's size."""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """#!{python}
import os, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
options = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
if name == "benchmark_model":
    model, runs = options["graph"], int(options["num_runs"])
elif name == "benchncnn":
    model, runs = options["param"], int(words[0])
else:
    model, runs = words[-1], int(words[words.index("-r") + 1])
seconds = 1e-3 + os.path.getsize(model) / 1e7
times = [seconds * (1 + 1e-3 * (i % 7)) for i in range(runs)]
mean = sum(times) / runs
if name == "benchmark_model":
    print("INFO: STARTING!")
    print("INFO: count=1 curr=%d p5=1 median=1 p95=1" % (5 * seconds * 1e6))
    if runs == 1:
        print("INFO: count=1 curr=%g p5=1 median=1 p95=1" % (seconds * 1e6))
    else:
        numbers = (runs, times[0] * 1e6, mean * 1e6, sorted(times)[runs // 2] * 1e6)
        print("INFO: count=%d first=%g curr=1 min=1 max=9 avg=%g std=3 p5=1 median=%g p95=9" % numbers)
elif name == "benchncnn":
    print("loop_count = %d" % runs, file=sys.stderr)
    print("%20s  min = %7.2f  max = %7.2f  avg = %7.2f" % (model, 1, 9, mean * 1e3), file=sys.stderr)
else:
    for i, time in enumerate(times):
        print("iteration:%d,time_cost:%g" % (i + 1, time))
    print("Session creation time cost: 0.01 s")
"""


def write_benchmark(folder: Path, name: str) -> Path:
    """The program under one of the three names."""
    path = folder / name
    path.write_text(_PROGRAM.replace("{python}", sys.executable))
    path.chmod(0o755)
    return path


def time_ms(model: Path) -> float:
    """What the program says that the fastest inference of ``model`` takes."""
    return 1.0 + model.stat().st_size / 1e4
