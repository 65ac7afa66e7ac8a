"""Whose table it is: a latency holds for one processor, under one version of one runtime."""

from __future__ import annotations

import re
from dataclasses import replace

from deployprune.backends.devices.base import Device
from deployprune.errors import UsageError
from deployprune.records import Host, Target

__all__ = ["describe_device", "device_folder", "differences", "require_same_device", "require_same_target"]


_MACHINE = re.compile(r"(?<=-)(x86_64|AMD64|aarch64|arm64|armv[0-9]+[a-z]*|i[3-6]86|riscv64)(?=-|$)")


def describe_device(device: Device) -> Host:
    """The device, for a file that is shared: the system by its kind alone, without the build of its kernel."""
    host = device.host()
    machine = _MACHINE.search(host.os)
    return replace(host, os=f"{host.os.partition('-')[0]} {machine[0] if machine else ''}".rstrip())


def differences(recorded: Host, other: Host, backend: str) -> tuple[str, ...]:
    """What latencies depend on and the hosts differ in, in words; empty for the same device.

    Memory, system and Python may differ: the runtimes' kernels do not depend on them.
    """
    pairs = {
        "processor": (recorded.cpu, other.cpu),
        "instruction sets": (" ".join(recorded.isa), " ".join(other.isa)),
        "cores": (str(recorded.cores), str(other.cores)),
        "governor": (recorded.governor, other.governor),
        backend: (recorded.versions.get(backend, ""), other.versions.get(backend, "")),
    }
    return tuple(f"{name} {old or 'none'} against {new or 'none'}" for name, (old, new) in pairs.items() if old != new)


def require_same_device(name: str, recorded: Host, other: Host, backend: str, *, force: bool) -> None:
    """Raise UsageError where the table ``name`` is of another device, unless ``force``."""
    found = differences(recorded, other, backend)
    if found and not force:
        raise UsageError(
            f"{name} was measured on another device: {'; '.join(found)}",
            hint="measure one here with `deployprune profile`, or use it all the same with --force",
        )


def require_same_target(name: str, recorded: Target, other: Target) -> None:
    """Raise UsageError where the table ``name`` was measured under other conditions: those, nothing can force."""
    if recorded != other:
        raise UsageError(f"{name} is a table of {_words(recorded)}, not of {_words(other)}", hint="name another table")


def device_folder(host: Host) -> str:
    """The processor's name as a folder: ``amd-epyc-9575f``."""
    words = "".join(letter.lower() if letter.isalnum() else " " for letter in host.cpu).split()
    return "-".join(words) or "unknown"


def _words(target: Target) -> str:
    return f"{target.backend}, {target.threads} threads, {target.precision}, batch {target.batch}"
