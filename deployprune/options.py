"""Every option there is: its place, default, help, flag and limits, for file, environment and command line alike."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from deployprune.conditions import Budget, Condition, TargetConfig, check_conditions, parsed, target_of
from deployprune.records import Target
from deployprune.settings import Section, Setting, about, list_settings
from deployprune.units import Amount, parse_count, parse_size

__all__ = ["Budget", "Config", "config_settings"]

Count = Annotated[int, msgspec.Meta(ge=1)]
Points = Annotated[float, msgspec.Meta(ge=0)]


class ModelConfig(Section, frozen=True):
    """Which model, and what it is called with."""

    source: Annotated[
        str | None,
        about("model file, or torchvision:NAME, timm:NAME, transformers:CONFIG", metavar="MODEL", argument=True),
    ] = None
    arch: Annotated[
        str | None,
        about("factory that builds the network of a state dict", metavar="PKG.MOD:FACTORY"),
    ] = None
    arch_kwargs: Annotated[
        dict[str, Any],
        about("keyword argument of the factory; may be repeated", flag="--arch-arg", metavar="KEY=VALUE"),
    ] = msgspec.field(default_factory=dict)
    inputs: Annotated[
        list[str],
        about("input as [NAME:]SHAPE[:DTYPE], such as 1x3x224x224; may be repeated", flag="--input", metavar="SHAPE"),
    ] = msgspec.field(default_factory=list)
    trust_pickle: Annotated[
        bool,
        about(
            "load a pickle that can run any code; only for files you made yourself",
            flag="--trust-pickle",
            flag_only=True,
        ),
    ] = False


class DataConfig(Section, frozen=True):
    """What the model is recovered and judged with."""

    source: Annotated[
        str | None,
        about("image folder, .npz with x and y, or pkg.mod:callable giving loaders", flag="--data", metavar="DATA"),
    ] = None
    metric: Annotated[str, about("top1, or pkg.mod:callable", metavar="NAME")] = "top1"
    validation_share: Annotated[
        float,
        about("share kept for validation where the data has no split", ge=0.01, le=0.9),
    ] = 0.1
    mean: Annotated[list[float] | None, about("mean of a channel, subtracted; may be repeated", metavar="NUMBER")] = (
        None
    )
    std: Annotated[
        list[float] | None, about("deviation of a channel, divided by; may be repeated", metavar="NUMBER")
    ] = None
    augment: Annotated[Literal["none", "flip", "crop", "crop-flip"], about("augmentation of training images")] = "none"


class GroupConfig(Section, frozen=True, omit_defaults=True):
    """What differs for some groups; what is left out is as for all."""

    min_width: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    step: Count | None = None


class PruningConfig(Section, frozen=True):
    """What may be taken away, and by which measure."""

    criterion: Annotated[
        str,
        about(
            "auto (taylor with data, l2 without), l1, l2, taylor, sensitivity or random",
            flag="--criterion",
            metavar="NAME",
        ),
    ] = "auto"
    ignore: Annotated[
        list[str],
        about(
            "pattern of groups or modules never pruned, such as 'head*'; may be repeated",
            flag="--ignore",
            metavar="PATTERN",
        ),
    ] = msgspec.field(default_factory=list)
    min_width: Annotated[float, about("smallest share of a group's channels that stays", gt=0, le=1)] = 0.1
    step: Annotated[
        Count | None,
        about("widths are multiples of this; default: learned by measuring", flag="--channel-step"),
    ] = None
    depth: Annotated[bool, about("residual branches may be left out whole")] = False
    rounds: Annotated[int, about("prune in this many rounds with recovery between them", ge=1)] = 1
    groups: Annotated[
        dict[str, GroupConfig],
        about("least widths and steps by pattern of groups or modules; the last that matches counts", file_only=True),
    ] = msgspec.field(default_factory=dict)
    max_parameters: Annotated[
        str | int | float | None, about("most parameters, such as 1.5M or 50%", metavar="NUMBER")
    ] = None
    max_macs: Annotated[
        str | int | float | None, about("most MACs of one example, such as 300M or 50%", metavar="NUMBER")
    ] = None
    max_size: Annotated[str | int | float | None, about("largest ONNX file, such as 4MB or 50%", metavar="SIZE")] = None

    def __post_init__(self) -> None:
        _ = self.limits

    @property
    def limits(self) -> dict[str, Amount]:
        """The limits that are set, of ``parameters``, ``macs`` and ``size`` (of the ONNX file, in bytes)."""
        parsers = {"parameters": parse_count, "macs": parse_count, "size": parse_size}
        return {
            name: parsed(f"$.pruning.max_{name}", parse, value)
            for name, parse in parsers.items()
            if (value := getattr(self, f"max_{name}")) is not None
        }


class TableConfig(Section, frozen=True):
    """How the latency table is measured."""

    variants: Annotated[int, about("whole-model variants that are timed", ge=6)] = 40
    rounds: Annotated[
        int,
        about("interleaved timings of each variant; up to twice as many if they differ", flag="--table-rounds", ge=3),
    ] = 15
    budget_seconds: Annotated[
        float, about("most seconds of a target's table, its files included", flag="--table-seconds", gt=0)
    ] = 90.0
    files: Annotated[
        list[str],
        about(
            "latency table of an earlier run, instead of measuring; may be repeated", flag="--profile", metavar="FILE"
        ),
    ] = msgspec.field(default_factory=list)
    force: Annotated[
        bool, about("use such a table of another device or model file all the same", flag="--force-profile")
    ] = False


class RecoveryConfig(Section, frozen=True):
    """Fine-tuning of the pruned model, distilled from the dense one."""

    epochs: Annotated[int, about("epochs of fine-tuning; 0 leaves the pruned weights", ge=0)] = 3
    batch_size: Annotated[int, about("examples in a training batch", ge=1)] = 128
    learning_rate: Annotated[float, about("peak learning rate", gt=0)] = 0.02
    weight_decay: Annotated[float, about("weight decay", ge=0)] = 5e-4
    optimizer: Annotated[Literal["sgd", "adamw"], about("optimizer")] = "sgd"
    warmup_epochs: Annotated[float, about("epochs of rising learning rate", ge=0)] = 0.2
    temperature: Annotated[float, about("softening of logits in distillation", gt=0)] = 3.0
    distill_weight: Annotated[float, about("share of distillation in the loss; the rest is labels", ge=0, le=1)] = 0.7
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], about("arithmetic of training", flag="--training-precision")
    ] = "auto"
    max_steps: Annotated[Count | None, about("end fine-tuning after this many steps")] = None
    workers: Annotated[int, about("processes that load data", ge=0)] = 0


class ExportConfig(Section, frozen=True):
    """How the files are written."""

    static: Annotated[bool, about("fix the batch in the exported files")] = False


class VerificationConfig(Section, frozen=True):
    """How the result is proven."""

    budget_seconds: Annotated[
        float, about("most seconds of timing on one backend", flag="--verification-seconds", gt=0)
    ] = 60.0
    apart_seconds: Annotated[
        float, about("least seconds between two timings of a plan or file near its target", ge=0)
    ] = 15.0
    unstructured: Annotated[bool, about("build and time an unstructured twin of the same size")] = True


class Config(Section, frozen=True):
    """Everything a run is told."""

    model: ModelConfig = msgspec.field(default_factory=ModelConfig)
    target: TargetConfig = msgspec.field(default_factory=TargetConfig)
    targets: Annotated[
        list[Condition],
        about("several targets at once: backend, device, threads, precision, latency or speedup", file_only=True),
    ] = msgspec.field(default_factory=list)
    data: DataConfig = msgspec.field(default_factory=DataConfig)
    pruning: PruningConfig = msgspec.field(default_factory=PruningConfig)
    table: TableConfig = msgspec.field(default_factory=TableConfig)
    recovery: RecoveryConfig = msgspec.field(default_factory=RecoveryConfig)
    export: ExportConfig = msgspec.field(default_factory=ExportConfig)
    verification: VerificationConfig = msgspec.field(default_factory=VerificationConfig)
    seed: Annotated[int, about("seed of everything random", ge=0)] = 0
    output: Annotated[str, about("folder that run directories are made in", metavar="FOLDER")] = "runs"

    def __post_init__(self) -> None:
        check_conditions(self.targets, self.target)

    @property
    def has_budget(self) -> bool:
        """Whether any target has a latency budget: what profiling has none of."""
        return any(budget.has_budget for budget in self.budgets.values())

    @property
    def budgets(self) -> dict[Target, Budget]:
        """Every target, those of ``targets`` or one for each of ``target.backends``, and the latency budget on it."""
        given = self.targets or [Condition(backend=name) for name in self.target.backends]
        return {
            target_of(condition, self.target): condition if condition.has_budget else self.target for condition in given
        }


@cache
def config_settings() -> tuple[Setting, ...]:
    """Every setting of :class:`Config`, in order."""
    return tuple(list_settings(Config))
