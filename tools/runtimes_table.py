"""Compress a MobileNetV2-like network with random weights for every runtime, and for several with one set of weights.

Every compression is a run of `deployprune compress` in the work folder, resumed if it was interrupted; there is no
data, so this is about latency, parity and size alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from networks import mobilenet_v2  # the script's own folder

from deployprune.host import describe_host
from deployprune.pipeline.targets import target_key
from deployprune.records import Comparison, Plan, Verified
from deployprune.rundir import RunDirectory
from deployprune.steps import PLAN, VERIFICATION

BACKENDS = "onnxruntime,openvino,litert,executorch,ncnn,mnn"
TOGETHER = "onnxruntime,openvino,mnn"
SIDE = 160
VARIANTS = 20  # LiteRT and ExecuTorch convert each of them, which takes seconds
COLUMNS = (
    "targets", "backend", "target", "latency / dense, 95 %", "of budget", "prediction error", "parity", "size",
    "unstructured twin", "turns", "verdict",
)  # fmt: skip


def main() -> None:
    """Compress on each backend, then on some together, and print a row a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=BACKENDS)
    parser.add_argument("--together", default=TOGETHER, help="these at once, with one set of weights; '' for none")
    parser.add_argument("--speedup", default="2x")
    parser.add_argument("--work", type=Path, default=Path("runs/runtimes"))
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    weights = save_weights(given.work)
    host = describe_host()
    print(
        f"MobileNetV2-like, {SIDE} px, random weights, one thread of {host.cpu}, f32, batch 1, {VARIANTS} variants a "
        f"table; {versions(host.versions)}"
    )
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    for backends in [*([name] for name in given.backends.split(",") if name), given.together.split(",")]:
        if backends != [""]:
            print_rows(backends, compress(given.work, weights, backends, given.speedup))


def versions(found: dict[str, str]) -> str:
    """The runtimes' versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in found.items() if name != "deployprune")


def save_weights(work: Path) -> Path:
    """The dense network's weights; batch statistics are drawn too, so that nothing folds away."""
    weights = work / "dense.safetensors"
    if not weights.is_file():
        module = mobilenet_v2()
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + 0.5 if name.endswith("var") else 0.1 * torch.randn_like(buffer))
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, weights)
    return weights


def compress(work: Path, weights: Path, backends: Sequence[str], speedup: str) -> RunDirectory:
    """The run on these backends: the one that is there, else one made or resumed now."""
    folder = work / f"{'-'.join(backends)}-{speedup}"
    run = next(folder.glob("*/"), None)
    if run is None or not RunDirectory.view(run).has(VERIFICATION):
        where = [
            str(weights), "--arch", f"{Path(__file__).parent / 'networks.py'}:mobilenet_v2",
            "--input", f"1x3x{SIDE}x{SIDE}", "--speedup", speedup, "--output", str(folder), "--variants", str(VARIANTS),
            *(word for name in backends for word in ("--backend", name)),
        ]  # fmt: skip
        arguments = ["--resume", str(run)] if run else where
        words = [sys.executable, "-m", "deployprune", "compress", *arguments]
        done = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)  # `deployprune report` prints it again
        if done.returncode not in (0, 1, 5):
            sys.exit(f"bench_runtimes: compress on {', '.join(backends)} ended with {done.returncode}")
        run = next(folder.glob("*/"))
    return RunDirectory.view(run)


def print_rows(backends: Sequence[str], run: RunDirectory) -> None:
    """A row for every target of a run, as Markdown."""
    plan, record = run.read(PLAN), run.read(VERIFICATION)
    for verified in record.targets:
        print(f"| {' | '.join(row(backends, verified, plan))} |", flush=True)


def row(backends: Sequence[str], verified: Verified, plan: Plan) -> list[str]:
    """What one runtime gave."""
    goal = verified.target_ms / verified.reference_ms
    sides = {comparison.role: comparison for comparison in verified.comparisons}
    cards = {card.role: card for card in verified.cards}
    candidate, parity = sides["candidate"].ratio, cards["candidate"].parity
    first, key = plan.trail[0], target_key(verified.target)
    twins = [f"{role}: {interval(side)}" for role, side in sides.items() if role.startswith("unstructured")]
    return [
        "alone" if len(backends) == 1 else f"{len(backends)} at once",
        verified.target.backend,
        f"{goal:.3f}",
        interval(sides["candidate"]),
        f"{candidate.value / goal:.1%}",
        f"{first.predicted[key] / first.measured[key].value - 1:+.1%}",
        f"{parity.max_relative:.0e}" if parity else "",
        f"{cards['candidate'].artifact.size_bytes / 1000:.0f} of {cards['dense'].artifact.size_bytes / 1000:.0f} kB",
        "; ".join(twins),
        str(len(plan.trail)),
        verified.verdict.value,
    ]


def interval(comparison: Comparison) -> str:
    """A ratio with its interval."""
    ratio = comparison.ratio
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


if __name__ == "__main__":
    main()
