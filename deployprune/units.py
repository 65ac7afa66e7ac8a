"""``30ms``, ``2x``, ``50%``, ``1.5M`` and ``8MB`` to numbers, and numbers as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deployprune.errors import UsageError

__all__ = [
    "Amount",
    "format_bytes",
    "format_count",
    "format_ms",
    "format_share",
    "parse_count",
    "parse_latency",
    "parse_size",
    "parse_speedup",
]

_LATENCY = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*(us|µs|ms|s)\s*$")
_NUMBER = re.compile(r"^\s*[0-9]*\.?[0-9]+\s*$")
_SPEEDUP = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*x?\s*$")
_AMOUNT = re.compile(r"^\s*([0-9]*\.?[0-9]+)\s*([A-Za-z%]*)\s*$")
_COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_BYTES = {"B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_DIGITS = ((0.09995, 4), (0.9995, 3), (9.995, 2), (99.95, 1))
"""Below which number how many digits follow the point, so that three count."""
_MS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}


def parse_latency(text: str) -> float:
    """``"30ms"`` to 30.0 (ms). Raises UsageError for anything without a unit, or not above zero."""
    match = _LATENCY.match(text)
    if match is None or float(match[1]) <= 0:
        wrong = "has no unit" if _NUMBER.match(text) else "is not a time above zero"
        raise UsageError(f"latency {text!r} {wrong}", hint="write it with its unit: 30ms, 800us or 1.2s")
    return float(match[1]) * _MS[match[2]]


def parse_speedup(text: str) -> float:
    """``"2x"`` to 2.0. Raises UsageError for anything that is not a factor above 1."""
    match = _SPEEDUP.match(text)
    if not match or float(match[1]) <= 1:
        raise UsageError(f"speed-up {text!r} is not a factor above 1", hint="write it as 1.5x, 2x or 3x")
    return float(match[1])


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of something, or a share (0 to 1) of what the dense model has."""

    value: float
    is_share: bool = False

    def of(self, dense: float) -> float:
        """The number, where the dense model has ``dense``."""
        return self.value * dense if self.is_share else self.value


def parse_count(text: str) -> Amount:
    """``"1.5M"`` to 1 500 000, ``"50%"`` to a share. Raises UsageError for anything else, or not above zero."""
    return _amount(text, _COUNTS, "a number above zero, or a share up to 100%", "write it as 1500000, 1.5M or 50%")


def parse_size(text: str) -> Amount:
    """``"4MB"`` to 4 000 000 bytes, ``"50%"`` to a share. Raises UsageError for anything else, or not above zero."""
    return _amount(text, _BYTES, "a size above zero, or a share up to 100%", "give its unit: 4MB, 300kB or 50%")


def _amount(text: str, units: dict[str, float], kind: str, hint: str) -> Amount:
    match = _AMOUNT.match(text)
    factor = {**units, "%": 0.01}.get(match[2]) if match else None
    if match is None or factor is None or float(match[1]) <= 0 or (match[2] == "%" and float(match[1]) > 100):
        raise UsageError(f"{text!r} is not {kind}", hint=hint)
    return Amount(float(match[1]) * factor, is_share=match[2] == "%")


def format_ms(value: float) -> str:
    """A latency with three significant digits, to a tenth of a microsecond: ``0.0412 ms``, ``30.1 ms``, ``812 ms``."""
    return f"{_three_digits(value)} ms"


def format_share(value: float, digits: int = 1) -> str:
    """``0.974`` as ``97.4 %``."""
    return f"{100 * value:.{digits}f} %"


def format_bytes(value: int) -> str:
    """A size in decimal units: ``812 B``, ``4.2 MB``."""
    size, unit = _in_unit(value, ("B", "kB", "MB", "GB"))
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def format_count(value: int) -> str:
    """A count in short form: ``812``, ``44.5 k``, ``1.82 M``, ``4.10 G``."""
    number, unit = _in_unit(value, ("", "k", "M", "G"))
    return f"{_three_digits(number)} {unit}" if unit else f"{number:.0f}"


def _in_unit(value: float, units: Sequence[str]) -> tuple[float, str]:
    """The value in the first of these units (each a thousand of the last) in which it rounds to below a thousand."""
    for unit in units[:-1]:
        if value < 999.5:
            return value, unit
        value /= 1000
    return value, units[-1]


def _three_digits(value: float) -> str:
    digits = next((digits for limit, digits in _DIGITS if value < limit), 0)
    return f"{value:.{digits}f}"
