"""Which whole-model variants to time, so that every run fills one cell of every layer's latency table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deployprune.records import ChannelGroup

__all__ = ["choose_probes", "choose_variants"]

_NARROWEST = 0.3  # of a group's size, where every group draws its own width
_SMALLEST_SCALE = 0.12  # of all groups' sizes, where one scale is drawn for all
_STEPS = (16, None, 8, None)  # channels between the widths of successive variants; None for a step a group, drawn from
_MIXED = (1, 1, 4, 16)  # as runtimes leave their fast paths off an alignment, on either side of a layer by itself
_SCALED_EVERY = 5  # one variant in so many has one scale for all its groups


def choose_variants(groups: Sequence[ChannelGroup], count: int, seed: int) -> list[dict[str, int]]:
    """``count`` different legal width assignments (group name -> units): the dense one first.

    Most draw every group's width on its own, by Latin hypercube (McKay et al. 1979), so that each group's range is
    covered evenly; every fifth scales all groups alike, down to near the floor. In every other variant all widths are
    multiples of 16 or of 8 channels, where plans are made; in the rest some groups are and some are not, so that the
    fit sees what misalignment costs on each side. Fewer than ``count`` come back only where the groups have no more.
    """
    rng = np.random.default_rng(seed)
    variants = [{group.name: group.size for group in groups}]
    shares = _shares(len(groups), max(count - 1, 1), rng)
    for draw in range(4 * count):
        if len(variants) >= count:
            break
        row = shares[draw] if draw < len(shares) else rng.uniform(_NARROWEST, 1.0, len(groups))
        step = _STEPS[draw % len(_STEPS)] if draw < len(shares) else 1
        steps = rng.choice(_MIXED, len(groups)) if step is None else [step] * len(groups)
        drawn = zip(groups, row, steps, strict=True)
        widths = {group.name: _nearest(group, share, int(each)) for group, share, each in drawn}
        if widths not in variants:
            variants.append(widths)
    return variants


def choose_probes(groups: Sequence[ChannelGroup], count: int, seed: int) -> list[dict[str, int]]:
    """``count`` width assignments by which the groups can be told apart: from the first few of them already.

    Groups with the same legal widths take different ones in some of the first probes, and each of them is narrower than
    dense in some: one probe is enough for up to ``n - 1`` groups that have the same ``n`` legal widths, two are for
    ``n * n - 1``, three for ``n ** 3 - 1``. So the sizes in a few files say which group they follow.
    """
    rng = np.random.default_rng(seed)
    probes: list[dict[str, int]] = [{} for _ in range(count)]
    legal = {
        group.name: (*range(-(-group.minimum // group.step) * group.step, group.size, group.step), group.size)
        for group in groups
    }
    for widths in dict.fromkeys(legal.values()):
        alike = [group.name for group in groups if legal[group.name] == widths]
        for probe, drawn in zip(probes, _draw_apart(len(alike), len(widths), count, rng), strict=True):
            probe.update((name, widths[place]) for name, place in zip(alike, drawn, strict=True))
    return [{group.name: probe[group.name] for group in groups} for probe in probes]


def _draw_apart(items: int, choices: int, rows: int, rng: np.random.Generator) -> list[list[int]]:
    """``rows`` of a choice for every item, such that no two items have the same in all of the first few rows.

    The numbers of a few rows are the digits of one number for every item; the largest, the last choice throughout, is
    none of them.
    """
    digits = next(number for number in range(1, rows + 2) if choices**number > items or number > rows)
    drawn: list[list[int]] = []
    while len(drawn) < rows:
        codes = rng.choice(max(choices**digits - 1, 1), items, replace=choices**digits <= items)
        drawn += [(codes // choices**place % choices).tolist() for place in range(digits)]
    return drawn[:rows]


def _shares(groups: int, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Shares of each group's size to keep, ``rows`` x ``groups``."""
    strata = np.stack([rng.permutation(rows) for _ in range(groups)], axis=1) if groups else np.zeros((rows, 0))
    shares = _NARROWEST + (1.0 - _NARROWEST) * (strata + rng.random(strata.shape)) / rows
    scaled = np.arange(rows) % _SCALED_EVERY == 0
    scales = np.linspace(_SMALLEST_SCALE, 0.95, int(scaled.sum()))
    shares[scaled] = scales[:, None] * rng.uniform(0.95, 1.05, (len(scales), groups))
    return shares


def _nearest(group: ChannelGroup, share: float, channel_step: int) -> int:
    """The legal width nearest to ``share`` of the group on the step that holds ``channel_step`` channels."""
    step = group.aligned_step(channel_step)
    lowest = -(-group.minimum // step) * step
    if share > 1.0 - 0.5 * step / group.size:
        return group.size
    return min(group.size, max(lowest, round(share * group.size / step) * step))
