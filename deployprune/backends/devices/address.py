"""Device addresses: ``local``, ``ssh://[user@]host[:port]`` and ``adb://serial``, with options behind a ``?``.

ssh: ``python`` (that of the device, with the runtimes), ``config`` (a file for ``ssh -F``) and ``wait`` (for how many
seconds a lost or busy device is waited for). adb: ``binary`` (the benchmark of the runtime).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from deployprune.errors import UsageError

__all__ = ["LOCAL", "DeviceAddress", "device_label", "parse_device"]

LOCAL = "local"
_WORD = r"[A-Za-z0-9_][A-Za-z0-9._-]*"  # never a leading hyphen: clients would read it as an option
_PLACES = {
    "ssh": re.compile(rf"(?:(?P<user>{_WORD})@)?(?P<name>{_WORD})(?::(?P<port>[1-9][0-9]{{0,4}}))?"),
    "adb": re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._:-]*)"),
}
_OPTIONS = {"ssh": ("python", "config", "wait"), "adb": ("binary",)}
_HINT = "write it as local, ssh://user@host:port or adb://serial; other ssh settings belong in ~/.ssh/config"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAddress:
    """An address in its parts: ``name`` is the host of ssh or the serial number of adb."""

    url: str
    scheme: str
    name: str
    user: str | None
    port: int | None
    options: dict[str, str]


def parse_device(url: str) -> DeviceAddress:
    """The parts of ``url`` (not of ``local``). Raises UsageError for what is no address, or has an unknown option."""
    parts = urlsplit(url)
    place = _PLACES.get(parts.scheme)
    match = place.fullmatch(parts.netloc) if place and not parts.path and not parts.fragment else None
    if match is None:
        raise UsageError(f"{url!r} is not the address of a device", hint=_HINT)
    found = match.groupdict()
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _OPTIONS[parts.scheme]
    if wrong := sorted(name for name, value in options.items() if name not in known or not value):
        raise UsageError(
            f"{url!r} has an unknown or empty option: {', '.join(wrong)}",
            hint=f"options of {parts.scheme} devices: {', '.join(known)}",
        )
    return DeviceAddress(
        url=url,
        scheme=parts.scheme,
        name=found["name"],
        user=found.get("user"),
        port=int(found["port"]) if found.get("port") else None,
        options=options,
    )


def device_label(url: str) -> str:
    """A short name for a device that is safe in file names and differs between addresses: ``board-1a2b3c``."""
    if url == LOCAL:
        return LOCAL
    name = re.sub(r"[^A-Za-z0-9]+", "-", parse_device(url).name).strip("-")
    return f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:6]}"
