"""What targets are called beside each other: by their backend, and by what else tells them apart."""

from __future__ import annotations

from collections.abc import Iterable

from deployprune.records.measurement import Target

__all__ = ["label_targets"]


def label_targets(targets: Iterable[Target]) -> dict[Target, str]:
    """Each target's backend, with its device, threads and precision where the targets differ in them.

    ``openvino``, or ``openvino · 2 threads`` beside a target of one thread.
    """
    given = dict.fromkeys(targets)
    telling = (
        {target: target.device for target in given},
        {target: f"{target.threads} thread{'s' if target.threads != 1 else ''}" for target in given},
        {target: target.precision for target in given},
    )
    parts = [texts for texts in telling if len(set(texts.values())) > 1]
    return {target: " · ".join((target.backend, *(texts[target] for texts in parts))) for target in given}
