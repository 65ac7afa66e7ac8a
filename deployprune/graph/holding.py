"""Watching parameters lose their freedom: which of them have just become unable to give up any output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployprune.graph.atoms import Atoms
from deployprune.graph.labels import Labels

__all__ = ["Holding"]


class Holding:
    """The parameters that are known to stay whole along dimension 0, so that each is told once, by what held it."""

    def __init__(self, atoms: Atoms, parameters: Mapping[str, Labels]) -> None:
        self._atoms = atoms
        self._parameters = parameters
        self._told: set[str] = set()
        self._kept = 0

    def newly_held(self) -> tuple[str, ...]:
        """The parameters of which no output can go any more since this was last asked."""
        kept = self._atoms.count_kept()
        if kept == self._kept:
            return ()
        self._kept = kept
        held = tuple(self._held())
        self._told.update(held)
        return held

    def _held(self) -> Iterator[str]:
        for name, labels in self._parameters.items():
            outputs = (layer.ids for layer in labels.layers if layer.dims[0] == 0)
            if name not in self._told and any(not self._atoms.find(ids).any() for ids in outputs):
                yield name
