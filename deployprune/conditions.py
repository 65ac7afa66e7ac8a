"""How fast a model has to be, and where: the targets of a run, each with its latency budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from deployprune.errors import UsageError
from deployprune.records import Target
from deployprune.settings import Section, about
from deployprune.units import parse_latency, parse_speedup

__all__ = ["Budget", "Condition", "TargetConfig", "check_conditions", "parsed", "target_of"]

T = TypeVar("T")


class Budget(Section, frozen=True):
    """A latency budget: in time, or as a factor of the dense model's latency, or none."""

    latency: Annotated[
        str | int | float | None, about("latency budget, such as 30ms", flag="--target-latency", metavar="TIME")
    ] = None
    speedup: Annotated[str | int | float | None, about("latency budget as a factor, such as 2x", metavar="FACTOR")] = (
        None
    )

    @property
    def latency_ms(self) -> float | None:
        """The budget in ms, or None where none is set."""
        return None if self.latency is None else parse_latency(str(self.latency))

    @property
    def speedup_factor(self) -> float | None:
        """The budget as a factor above 1, or None where none is set."""
        return None if self.speedup is None else parse_speedup(str(self.speedup))

    @property
    def has_budget(self) -> bool:
        """Whether either is set."""
        return self.latency is not None or self.speedup is not None


class TargetConfig(Budget, frozen=True):
    """How fast it has to be, where, and what that may cost."""

    backends: Annotated[
        list[str], about("runtime the model ships to; may be repeated", flag="--backend", metavar="NAME", min_length=1)
    ] = msgspec.field(default_factory=lambda: ["onnxruntime", "openvino"])
    threads: Annotated[int, about("threads the runtime may use", ge=1)] = 1
    batch: Annotated[int, about("examples in one inference", ge=1)] = 1
    device: Annotated[
        str, about("where it is timed: local, ssh://[USER@]HOST[:PORT] or adb://SERIAL", metavar="DEVICE")
    ] = "local"
    precision: Annotated[Literal["f32", "bf16"], about("arithmetic of the runtime")] = "f32"
    max_accuracy_drop: Annotated[
        Annotated[float, msgspec.Meta(ge=0)] | None,
        about("most points of accuracy that may be lost", metavar="POINTS"),
    ] = None

    def __post_init__(self) -> None:
        _check_budget(self, "$.target")


class Condition(Budget, frozen=True, kw_only=True, omit_defaults=True):
    """One of several targets; what it leaves out is as ``target`` has it."""

    backend: str
    device: str | None = None
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None
    precision: Literal["f32", "bf16"] | None = None


def _check_budget(budget: Budget, place: str) -> None:
    """Raise UsageError, naming the place, for two budgets and for one that cannot be read."""
    parsers = {"latency": parse_latency, "speedup": parse_speedup}
    for key, parse in parsers.items():
        value = getattr(budget, key)
        _ = value is None or parsed(f"{place}.{key}", parse, value)
    if budget.latency is not None and budget.speedup is not None:
        raise UsageError(f"{place}: both latency and speedup are given", hint="a target has one latency budget")


def parsed(place: str, parse: Callable[[str], T], value: str | float) -> T:
    """``value`` as ``parse`` reads it; raises UsageError naming its place."""
    try:
        return parse(str(value))
    except UsageError as error:
        raise UsageError(f"{place}: {error.message}", hint=error.hint) from error


def check_conditions(conditions: Sequence[Condition], common: TargetConfig) -> None:
    """Raise UsageError, naming the place, for wrong budgets, for equal targets, and for a budget that none has."""
    for index, condition in enumerate(conditions):
        _check_budget(condition, f"$.targets[{index}]")
    seen: dict[Target, int] = {}
    for index, condition in enumerate(conditions):
        target = target_of(condition, common)
        if target in seen:
            raise UsageError(
                f"$.targets[{index}]: the same backend, device, threads and precision as $.targets[{seen[target]}]",
                hint="leave one of them out, or let them differ",
            )
        seen[target] = index
    if common.has_budget and conditions and all(condition.has_budget for condition in conditions):
        raise UsageError(
            "$.target: this latency budget counts for none of the targets: each has its own in $.targets",
            hint="drop it, or leave it out of the targets that it is for",
        )


def target_of(condition: Condition, common: TargetConfig) -> Target:
    """The target that a condition means."""
    return Target(
        backend=condition.backend,
        threads=condition.threads or common.threads,
        precision=condition.precision or common.precision,
        batch=common.batch,
        device=condition.device or common.device,
    )
