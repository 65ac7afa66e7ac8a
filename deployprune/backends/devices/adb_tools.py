"""The benchmark programs of three runtimes: how each is called, and what it says of its time.

They measure with inputs of their own making. ONNX Runtime's tells every inference, LiteRT's the median of a call (old
ones the mean), ncnn's the mean. ncnn's uses half precision wherever the processor has it; both sides alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployprune.errors import DeviceError
from deployprune.records import InputSpec

__all__ = ["TOOLS", "Call", "Tool", "read_samples"]

_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
_COUNT = re.compile(r"count=[0-9]+ first=.*")
_MEDIAN = re.compile(rf"median={_NUMBER}")
_MEAN = re.compile(rf"avg={_NUMBER}")
_ITERATION = re.compile(rf"^iteration:[0-9]+,time_cost:{_NUMBER}$", re.MULTILINE)
_LINE = re.compile(rf"min =\s*{_NUMBER}\s+max =\s*{_NUMBER}\s+avg =\s*{_NUMBER}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One start of a benchmark: its program and the model as paths on the device, and the conditions."""

    binary: str
    model: str
    threads: int
    runs: int
    inputs: Sequence[InputSpec]
    dimensions: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A benchmark program: ``words`` starts it, ``samples`` reads ms from what it printed."""

    program: str
    words: Callable[[Call], list[str]]
    samples: Callable[[str], list[float]]


def _litert_words(call: Call) -> list[str]:
    return [
        call.binary,
        f"--graph={call.model}",
        f"--num_threads={call.threads}",
        "--use_xnnpack=true",
        "--warmup_runs=1",
        "--warmup_min_secs=0",
        f"--num_runs={call.runs}",
        "--min_secs=0",
    ]


def _litert_samples(text: str) -> list[float]:
    """The last ``count=`` line is that of the runs that count; microseconds."""
    lines = _COUNT.findall(text)
    found = (_MEDIAN.search(lines[-1]) or _MEAN.search(lines[-1])) if lines else _single(text)
    return [float(found[1]) / 1e3] if found else []


def _single(text: str) -> re.Match[str] | None:
    """Of one run alone there is no statistic but its time, behind that of the warm-up."""
    found = list(re.finditer(rf"count=1 curr={_NUMBER}", text))
    return found[-1] if len(found) > 1 else None


def _onnxruntime_words(call: Call) -> list[str]:
    sizes = [word for name, size in call.dimensions.items() for word in ("-f", f"{name}:{size}")]
    words = [call.binary, "-I", "-e", "cpu", "-m", "times", "-r", str(call.runs), "-x", str(call.threads), "-y", "1"]
    return [*words, "-o", "99", "-v", *sizes, call.model]


def _onnxruntime_samples(text: str) -> list[float]:
    """One line an inference, in seconds."""
    return [float(found) * 1e3 for found in _ITERATION.findall(text)]


def _ncnn_words(call: Call) -> list[str]:
    shapes = ",".join(f"[{','.join(str(size) for size in reversed(spec.shape[1:]))}]" for spec in call.inputs)
    return [call.binary, str(call.runs), str(call.threads), "0", "-1", "0", f"param={call.model}", f"shape={shapes}"]


def _ncnn_samples(text: str) -> list[float]:
    """The mean in ms. More than one line is an old program's, which times networks of its own choice."""
    found = _LINE.findall(text)
    return [float(found[0][2])] if len(found) == 1 else []


TOOLS: Mapping[str, Tool] = {
    "litert": Tool(program="benchmark_model", words=_litert_words, samples=_litert_samples),
    "onnxruntime": Tool(program="onnxruntime_perf_test", words=_onnxruntime_words, samples=_onnxruntime_samples),
    "ncnn": Tool(program="benchncnn", words=_ncnn_words, samples=_ncnn_samples),
}


def read_samples(tool: Tool, text: str) -> list[float]:
    """The ms that the program printed. Raises DeviceError, with its last words, where there are none above zero."""
    samples = tool.samples(text.replace("\r\n", "\n"))
    if not samples or min(samples) <= 0:
        last = (text.strip().splitlines() or ["nothing"])[-1]
        raise DeviceError(
            f"{tool.program} told no time; it said: {last}", hint="start it by hand on the device and see what it says"
        )
    return samples
