"""Compress a ResNet-20 trained on Fashion-MNIST, and print dense, candidate and unstructured twin side by side.

    tools/bench_fashion --data FOLDER [--work FOLDER] [--speedups 2x,3x] [--ways]

The data folder holds train.npz and test.npz with x (N, 28, 28) uint8 and y (N,) int64. The dense network is trained
once and kept in the work folder; every compression is a run of `deployprune compress` there, resumed if it was
interrupted. With --ways, other widths of the same latency are recovered and measured beside each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from fashion_ways import print_ways  # the script's own folder
from networks import resnet20

from deployprune.host import describe_host
from deployprune.records import InputSpec, VerificationRecord
from deployprune.rundir import RunDirectory
from deployprune.sources.data import Data, load_data
from deployprune.steps import VERIFICATION
from deployprune.training.evaluate import accuracy
from deployprune.training.recovery import finetune
from deployprune.training.settings import ProgressEvent, RecoverySettings

MEAN, STD = 0.286, 0.353
ENOUGH = 0.91
WIDTH = 32  # of the first stage: 16 channels are one block of AVX-512, below which a runtime gains nothing
DENSE_EPOCHS, RECOVERY_EPOCHS = 4, 2


def main() -> None:
    """Train, compress and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--speedups", default="2x,3x")
    parser.add_argument("--ways", action="store_true", help="also scale all widths alike, and plan by MACs")
    given = parser.parse_args()
    if not (given.data / "train.npz").is_file():
        sys.exit(f"bench_fashion: there is no {given.data / 'train.npz'}; name the folder with --data")
    given.work.mkdir(parents=True, exist_ok=True)
    weights = train_dense(given.data, given.work)
    runs = {speedup: compress(given.data, given.work, weights, speedup) for speedup in given.speedups.split(",")}
    host = describe_host()
    print(
        f"ResNet-20 with {WIDTH} channels, one thread of {host.cpu}, f32, batch 1; {RECOVERY_EPOCHS} epochs of recovery"
    )
    print_table({speedup: RunDirectory.view(run).read(VERIFICATION) for speedup, run in runs.items()})
    if given.ways:
        print_ways(runs)


def train_dense(data_folder: Path, work: Path) -> Path:
    """The dense network's weights, trained unless they are there; refused below 91 %."""
    weights = work / "dense.safetensors"
    if weights.is_file():
        return weights
    spec = InputSpec(name="input", shape=(1, 1, 28, 28))
    data: Data = load_data(str(data_folder), input_spec=spec, mean=[MEAN], std=[STD])
    module = resnet20(WIDTH)
    settings = RecoverySettings(epochs=DENSE_EPOCHS, learning_rate=0.1, batch_size=128, augment="crop-flip")
    finetune(module, None, data, settings, checkpoint=work / "dense.checkpoint", progress=show)
    reached = accuracy(module, data)
    print(f"dense: {reached.value:.2%} of {reached.examples} test images", file=sys.stderr)
    if reached.value < ENOUGH:
        sys.exit(f"bench_fashion: the dense network reached {reached.value:.2%}, less than {ENOUGH:.0%}")
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, weights)
    return weights


def show(event: ProgressEvent) -> None:
    """Tell how training goes, fifty steps at a time."""
    if event.step % 50 == 0:
        score = "" if event.score is None else f", score {event.score:.4f}"
        print(
            f"epoch {event.epoch}/{event.epochs} step {event.step}/{event.steps} loss {event.loss:.3f}{score} "
            f"{event.images_per_second:.0f} images/s, {event.eta_s:.0f} s left",
            file=sys.stderr,
        )


def compress(data: Path, work: Path, weights: Path, speedup: str) -> Path:
    """The run of one compression: the one that is there, or else one made or resumed now."""
    folder = work / f"speedup-{speedup}"
    run = next(folder.glob("*/"), None)
    if run is None or not RunDirectory.view(run).has(VERIFICATION):
        where = [
            str(weights), "--arch", f"{Path(__file__).parent / 'networks.py'}:resnet20", "--arch-arg", f"width={WIDTH}",
            "--input", "1x1x28x28",
            "--data", str(data), "--mean", str(MEAN), "--std", str(STD), "--augment", "crop-flip",
            "--speedup", speedup, "--epochs", str(RECOVERY_EPOCHS), "--learning-rate", "0.1",
            "--distill-weight", "0.9", "--temperature", "4", "--output", str(folder),
        ]  # fmt: skip
        arguments = ["--resume", str(run)] if run else where
        done = subprocess.run([sys.executable, "-m", "deployprune", "compress", *arguments], check=False)
        if done.returncode not in (0, 1, 5):
            sys.exit(f"bench_fashion: compress --speedup {speedup} ended with {done.returncode}")
        run = next(folder.glob("*/"))
    return run


def print_table(records: dict[str, VerificationRecord]) -> None:
    """Rows of dense, candidate and twin for every target of every run, as Markdown."""
    print("| target | backend | side | latency / dense, 95 % | of budget | top-1 | points | size | verdict |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for speedup, record in records.items():
        for verified in record.targets:
            goal = verified.target_ms / verified.reference_ms
            cards = {card.role: card for card in verified.cards}
            dense = cards["dense"].accuracy.value
            for comparison in verified.comparisons:
                card, ratio = cards[comparison.role], comparison.ratio
                candidate = comparison.role == "candidate"
                cells = [
                    speedup,
                    verified.target.backend,
                    comparison.role,
                    f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
                    f"{ratio.value / goal:.1%}" if candidate else "",
                    f"{card.accuracy.value:.2%}",
                    f"{100 * (card.accuracy.value - dense):+.2f}",
                    f"{card.artifact.size_bytes / 1000:.0f} kB",
                    verified.verdict.value if candidate else "",
                ]
                print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
