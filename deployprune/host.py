"""What a measurement needs to say about the machine it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deployprune.records import Host

__all__ = ["describe_host", "hottest", "known_isa", "overheated", "read_temperature"]

_RUNTIMES = ("onnxruntime", "openvino", "ai-edge-litert", "executorch", "ncnn", "MNN")
_CONVERTERS = ("torch", "onnx", "litert-torch", "pnnx")
_PACKAGES = ("deployprune", *_RUNTIMES, *_CONVERTERS, "numpy")
_X86 = "avx2 fma avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16"
_ARM = "asimd asimdhp asimddp i8mm bf16 sve sve2 neon"
_ISA = tuple(f"{_X86} {_ARM}".split())  # what the runtimes choose their kernels by
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_THERMAL = Path("/sys/class/thermal")
_ABSURD_C = 200.0


def describe_host() -> Host:
    """This machine and the versions installed on it, without importing any of them.

    What the system does not tell is ``unknown`` or empty (the instruction sets outside of Linux).
    """
    info = _cpuinfo()
    return Host(
        cpu=info.get("model name") or platform.processor() or platform.machine(),
        isa=known_isa(info.get("flags") or info.get("Features") or ""),
        cores=_cores(),
        memory_bytes=_memory(),
        governor=_GOVERNOR.read_text().strip() if _GOVERNOR.is_file() else "unknown",
        os=platform.platform(),
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name)) is not None},
    )


def known_isa(flags: str) -> tuple[str, ...]:
    """The instruction sets among a processor's ``flags`` that runtimes choose their kernels by."""
    return tuple(name for name in _ISA if name in flags.split())


def read_temperature(thermal: Path = _THERMAL) -> float | None:
    """Degrees Celsius of the hottest sensor that Linux shows, or None where none can be read."""
    return hottest(value for file in thermal.glob("thermal_zone*/temp") if (value := _thousandths(file)) is not None)


def hottest(thousandths: Iterable[int]) -> float | None:
    """The highest of these readings in degrees Celsius; sensors that nothing is connected to tell nonsense."""
    return max((value / 1000 for value in thousandths if 0 < value / 1000 < _ABSURD_C), default=None)


def overheated(thermal: Path = _THERMAL) -> tuple[float, float] | None:
    """The temperature of a sensor at which Linux slows the processor down, and that limit; None where all is well."""
    for trip in sorted(thermal.glob("thermal_zone*/trip_point_*_type")):
        if trip.read_text().strip() != "passive":
            continue
        limit = _thousandths(trip.with_name(trip.name.replace("_type", "_temp")))
        value = _thousandths(trip.with_name("temp"))
        if limit is not None and value is not None and limit <= value < 1000 * _ABSURD_C:
            return value / 1000, limit / 1000
    return None


def _thousandths(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _memory() -> int:
    """Bytes of memory, from the system where it tells: a device need not have psutil."""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.virtual_memory().total)


def _cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields; empty where there is no ``/proc/cpuinfo``."""
    if not _CPUINFO.is_file():
        return {}
    lines = _CPUINFO.read_text().split("\n\n", 1)[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
