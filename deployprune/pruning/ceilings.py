"""What a plan may hold at most, beside its latency: parameters, MACs, bytes of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deployprune.errors import UnsupportedModelError
from deployprune.pruning.polish import Limit
from deployprune.records import LatencyModel

__all__ = ["SIZE", "Ceiling", "require_reachable"]

SIZE = "size"  # the ceiling that is estimated, until a file was written
_FILLED = 0.95  # of a limit: it decides about the widths, and not the latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """A thing that widths need, of which there may be ``limit``: what ``model`` counts in its unit, and ``offset``.

    Plans aim at the share ``aim`` of the limit, below 1 where the count is an estimate. ``text`` writes a number of it.
    """

    name: str
    model: LatencyModel
    limit: float
    text: Callable[[int], str]
    offset: float = 0.0
    aim: float = 1.0

    def band(self) -> Limit:
        """The limit as the solver takes it."""
        return Limit(model=self.model, low=0.0, high=self.aim * self.limit - self.offset)

    def count(self, widths: Mapping[str, int]) -> float:
        """How much the widths need."""
        return self.model.predict_ms(dict(widths)) + self.offset

    def calibrated(self, widths: Mapping[str, int], measured: float) -> Ceiling:
        """The same with the offset that counts what was measured at these widths."""
        return replace(self, offset=measured - self.model.predict_ms(dict(widths)))

    def is_used_up(self, count: float) -> bool:
        """Whether so much is all that may be had, so that there is a reason to be faster than asked."""
        return count >= _FILLED * self.aim * self.limit


def require_reachable(ceilings: Sequence[Ceiling], narrowest: Sequence[Mapping[str, int]]) -> None:
    """Raise UnsupportedModelError for a limit that none of the ``narrowest`` widths keep."""
    for ceiling in ceilings:
        least = min(ceiling.count(widths) for widths in narrowest)
        if least > ceiling.aim * ceiling.limit:
            limit, reached = ceiling.text(round(ceiling.limit)), ceiling.text(round(least / ceiling.aim))
            raise UnsupportedModelError(
                f"the limit of {limit} for {ceiling.name} is below the least of {reached}: what is left with every "
                "group as narrow as it may get",
                hint=f"allow more than {reached}, or lower pruning.min_width",
            )
