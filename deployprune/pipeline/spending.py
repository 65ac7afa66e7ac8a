"""How a table's seconds are spent: on files, on opening them, on samples, and on the nodes' own times."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from statistics import fmean

__all__ = ["Spending", "measuring_seconds"]

_MEASURING_SHARE = 0.4  # of the time that a table may take, however long its files take
_PROFILE_SHARE = 0.3  # of the time for measuring
_AGAIN_SHARE = 0.1  # of it, for nodes that are timed again
_FEWEST_PROFILED = 20  # variants of which node times are taken, however long that takes
_OPENING_SHARE = 0.5  # of the time for blocks, that opening their files may take


def measuring_seconds(budget_s: float, files_s: float) -> float:
    """What files that took ``files_s`` seconds leave of a table's ``budget_s``: two fifths at least."""
    return max(budget_s - files_s, _MEASURING_SHARE * budget_s)


@dataclass
class Spending:
    """What is left of the ``left`` seconds for measuring, as blocks of variants and their nodes are timed."""

    left: float
    _profiling_left: float = field(init=False)
    _again_left: float = field(init=False)
    _openings: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._profiling_left, self._again_left = _PROFILE_SHARE * self.left, _AGAIN_SHARE * self.left

    def share(self, opening_s: float, required: int, planned: int) -> float:
        """Seconds for a block whose files took ``opening_s`` to open.

        It is the first of ``planned`` blocks to come, of which ``required`` are timed in any case. Blocks for which
        opening the files would take more than half of the time are not counted on.
        """
        self._openings.append(opening_s)
        return self._left_for_blocks() / max(required, min(planned, self._affordable()), 1)

    def affords_another(self) -> bool:
        """Whether opening another block's files would take half of what is left, or less."""
        return self._affordable() >= 1.0

    def spend_on_block(self, seconds: float) -> None:
        """Take off what a block took."""
        self.left -= seconds

    def profiles(self, done: int) -> bool:
        """Whether one more variant's nodes are timed, when those of ``done`` have been."""
        return done < _FEWEST_PROFILED or self._profiling_left > 0.0

    def profiles_again(self) -> bool:
        """Whether one more variant's nodes are timed again."""
        return self._profiling_left > 0.0

    def spend_on_nodes(self, seconds: float) -> None:
        """Take off what one variant's node times took."""
        self._profiling_left -= seconds
        self.left -= seconds

    def end_profiling(self) -> None:
        """Leave what the nodes' times have not taken to the blocks: after the first time but for timing some again."""
        self._profiling_left, self._again_left = self._again_left, 0.0

    def _left_for_blocks(self) -> float:
        return max(self.left - max(self._profiling_left, 0.0) - self._again_left, 0.0)

    def _affordable(self) -> float:
        """Blocks that the time allows for."""
        opening = fmean(self._openings) if self._openings else 0.0
        return _OPENING_SHARE * self._left_for_blocks() / opening if opening > 0.0 else inf
