"""A run as the pipeline would leave it, with figures made up: what the reports and the command line are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import deployprune.records as r
from deployprune import steps
from deployprune.config import Config, load_config
from deployprune.rundir import RunDirectory

HOST = r.Host(
    cpu="Made-up CPU @ 2.00GHz",
    isa=("avx2", "avx512f", "amx_bf16"),
    cores=2,
    memory_bytes=16_000_000_000,
    governor="performance",
    os="Linux 6.1",
    python="3.11.9",
    versions={"onnxruntime": "1.31.1", "openvino": "2026.4.1"},
)
GROUPS = (("conv1", 16, 16), ("layer1.0.conv1", 16, 8), ("layer2.0.conv1", 32, 20), ("layer3.0.conv1", 64, 28))
DENSE_MS = {"onnxruntime": 3.71, "openvino": 2.93}


def config(**flags: Any) -> Config:
    """A compress configuration; ``target__speedup="3x"`` sets ``target.speedup``."""
    given = {"model.source": "resnet20.pt", "target.speedup": "2x", "data.source": "digits", "recovery.epochs": 5}
    given.update({name.replace("__", "."): value for name, value in flags.items()})
    return load_config(None, given, {})


def analysis() -> r.Analysis:
    """Four groups, and one operation that froze something."""
    groups = tuple(
        r.ChannelGroup(
            name=name,
            kind="channel",
            size=size,
            axes=(r.Axis(parameter=f"{name}.weight", dim=0),),
            units=tuple({f"{name}.weight": {0: (index,)}} for index in range(size)),
            parameters=size * 144,
            macs=size * 20_000,
        )
        for name, size, _ in GROUPS
    )
    frozen = r.Frozen(op="aten.topk", reason="no rule for it", location="net.py:41", parameters=("fc.weight",))
    return r.Analysis(
        groups=groups,
        frozen=(frozen,),
        layers=(),
        parameters=272_474,
        prunable_parameters=271_824,
        macs=40_810_000,
        prunable_macs=40_800_000,
    )


def table(backend: str) -> r.LatencyTable:
    """Two variants with two nodes each."""
    node = r.NodeTime(name="/conv1/Conv", kind="Conv", ms=0.8, inputs=((1, 3, 32, 32),), outputs=((1, 16, 32, 32),))
    pool = r.NodeTime(name="/pool", kind="Pool", ms=0.1, inputs=((1, 64, 8, 8),), outputs=((1, 64, 1, 1),))
    widths = {name: size for name, size, _ in GROUPS}
    dense = DENSE_MS[backend]
    runs = tuple(r.VariantRun(widths=widths, total_ms=dense * scale, nodes=(node, pool)) for scale in (1.0, 0.6))
    target = r.Target(backend=backend)
    return r.LatencyTable(
        target=target, host=HOST, model_sha256="ab" * 32, channel_step=8, noise=0.012, runs=runs, seconds=31.5
    )


def plan() -> r.Plan:
    """Two turns of the loop, on two backends."""
    widths = {name: kept for name, _, kept in GROUPS}
    onnxruntime, openvino = (f"{backend}-t1-f32-b1" for backend in DENSE_MS)
    ratio = {onnxruntime: 0.5, openvino: 0.5}
    turns = tuple(
        r.LoopStep(
            widths=widths,
            predicted={onnxruntime: 0.49, openvino: 0.48},
            measured={name: r.Ratio(value=value, low=value - 0.008, high=value + 0.008) for name in ratio},
            correction={onnxruntime: 1.04, openvino: 1.01},
        )
        for value in (0.531, 0.488)
    )
    kept = {name: tuple(range(count)) for name, count in widths.items()}
    return r.Plan(
        widths=widths,
        kept=kept,
        loss=0.183,
        gap=0.0021,
        predicted_ratio=ratio,
        target_ratio=ratio,
        trail=turns,
        interval={onnxruntime: 0.031},
    )


def surgery() -> steps.SurgeryRecord:
    """A pruned module with a proof far within the tolerance."""
    pruned = r.PrunedRecord(
        model=r.ModelRef(kind="module", source="resnet20.pt", sha256="cd" * 32),
        inputs=(r.InputSpec(name="input", shape=(1, 3, 32, 32)),),
        kept={"conv1.weight": {0: (0, 1)}},
        attributes={},
        product="eager",
    )
    proof = r.Proof(relative_difference=4.1e-8, mask_changed_output=True, product="eager", trials=3)
    return steps.SurgeryRecord(pruned=pruned, proof=proof)


def accuracy(value: float) -> r.AccuracyResult:
    """Top-1 of 1000 examples, as a share of one."""
    return r.AccuracyResult(metric="top1", value=value, examples=1000)


def recovery(measured: bool = True) -> steps.RecoveryRecord:
    """Five epochs, the fourth the best; without data there is nothing of it."""
    if not measured:
        return steps.RecoveryRecord(training=None, dense=None, candidate=None)
    training = r.TrainingRecord(
        epochs=5,
        best_epoch=4,
        history=tuple({"epoch": float(epoch), "metric": 0.88 + 0.005 * epoch} for epoch in range(5)),
        criterion="metric",
        distilled=True,
        labels=True,
        images_per_second=774.0,
        seed=0,
    )
    return steps.RecoveryRecord(training=training, dense=accuracy(0.912), candidate=accuracy(0.9095))


def parity(artifact: str, backend: str) -> r.ParityResult:
    """Outputs that agree."""
    return r.ParityResult(artifact=artifact, backend=backend, max_absolute=3e-6, max_relative=1.2e-6, tolerance=1e-4)


def export() -> steps.ExportRecord:
    """One ONNX file and one IR."""
    files = (("export/candidate.onnx", "onnx", "onnxruntime"), ("export/candidate.xml", "openvino", "openvino"))
    return steps.ExportRecord(
        artifacts=tuple(r.Artifact(path=p, format=f, sha256="ef" * 32, size_bytes=402_113) for p, f, _ in files),
        parity=tuple(parity(p, b) for p, _, b in files),
    )


def card(role: str, backend: str, size: int, parameters: int, value: float | None) -> r.ModelCard:
    """One side of a comparison."""
    path = f"export/{role}.onnx"
    return r.ModelCard(
        role=role,
        artifact=r.Artifact(path=path, format="onnx", sha256="ef" * 32, size_bytes=size),
        parameters=parameters,
        nonzero_parameters=98_000 if role == "unstructured" else parameters,
        macs=40_810_000 if role != "candidate" else 18_340_000,
        peak_memory_bytes=61_200_000 if role != "candidate" else 58_100_000,
        parity=parity(path, backend),
        accuracy=None if value is None else accuracy(value),
    )


def verified(backend: str, verdict: r.Verdict = r.Verdict.PASS, measured: bool = True) -> r.Verified:
    """One target's entry: the candidate at 0.487 of dense against a target of 0.5."""
    dense = DENSE_MS[backend]
    values = {"dense": (1.0, 0.912), "candidate": (0.487, 0.9094), "unstructured": (0.998, 0.907)}
    return r.Verified(
        target=r.Target(backend=backend),
        cards=tuple(
            card(
                role,
                backend,
                402_113 if role == "candidate" else 1_102_113,
                98_402 if role == "candidate" else 272_474,
                top1 if measured else None,
            )
            for role, (_, top1) in values.items()
        ),
        comparisons=tuple(
            r.Comparison(
                role=role,
                measurement=r.Measurement(samples_ms=tuple(dense * ratio * (1 + 0.01 * step) for step in range(-5, 6))),
                ratio=r.Ratio(value=ratio, low=ratio - 0.006, high=ratio + 0.006),
            )
            for role, (ratio, _) in values.items()
        ),
        control=r.Ratio(value=1.001, low=0.994, high=1.008),
        reference_ms=dense,
        target_ms=dense / 2,
        drift=0.013,
        heat_c=(51.2, 64.0) if backend == "openvino" else None,
        verdict=verdict,
        reason=f"the interval of the ratio lies {'within' if verdict is r.Verdict.PASS else 'across'} the budget",
    )


def verification(verdict: r.Verdict = r.Verdict.PASS, measured: bool = True) -> r.VerificationRecord:
    """Both backends with one verdict."""
    targets = tuple(verified(backend, verdict, measured) for backend in DENSE_MS)
    return r.VerificationRecord(targets=targets, verdict=verdict, reason=targets[0].reason)


def records(verdict: r.Verdict = r.Verdict.PASS, measured: bool = True) -> list[tuple[steps.Step[Any], Any]]:
    """Every step's record, in order."""
    loaded = steps.LoadedRecord(model=surgery().pruned.model, inputs=surgery().pruned.inputs)
    twin = steps.UnstructuredRecord(nonzero_parameters=98_000, training=None, accuracy=None)
    return [
        (steps.HOST, HOST),
        (steps.MODEL, loaded),
        (steps.ANALYSIS, analysis()),
        (steps.DENSE, export()),
        *((steps.table_step(f"{backend}-t1-f32-b1"), table(backend)) for backend in DENSE_MS),
        (steps.PLAN, plan()),
        (steps.PRUNED, surgery()),
        (steps.RECOVERY, recovery(measured)),
        (steps.UNSTRUCTURED, twin),
        (steps.EXPORT, export()),
        (steps.VERIFICATION, verification(verdict, measured)),
    ]


def write_records(run: RunDirectory, contents: Sequence[tuple[steps.Step[Any], Any]]) -> None:
    """Put records into a run."""
    for step, record in contents:
        run.write(step, record)


def make_run(
    folder: Path,
    *,
    verdict: r.Verdict = r.Verdict.PASS,
    measured: bool = True,
    until: int | None = None,
    **flags: Any,
) -> RunDirectory:
    """A run in ``folder`` with its first ``until`` records (all of them by default), opened for reading."""
    with RunDirectory.create(folder, config(**flags)) as run:
        write_records(run, records(verdict, measured)[:until])
    return RunDirectory.view(run.root)
