"""Prunes every model of the zoo and prints a table: what can go, whether it is proven, trains and exports.

"Seen" counts the plans of which the mask changed an output: only these proofs could have failed.
Each model runs in a process of its own, so that its peak memory is its own and a crash is one line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn
from zoo_models import ZOO

from deployprune.backends.registry import get_backend
from deployprune.errors import DeployPruneError
from deployprune.export.onnx import export_onnx
from deployprune.export.parity import check_parity
from deployprune.graph.analysis import GraphAnalysis, PrunedModel, analyze
from deployprune.graph.capture import flatten_outputs, twice
from deployprune.records import Target

_COLUMNS = ("model", "params", "MACs", "proof", "seen", "product", "trains", "onnx", "seconds", "GiB", "note")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="names from the zoo; all without any")
    parser.add_argument("--no-export", action="store_true", help="leave out ONNX, which takes most of the time")
    parser.add_argument("--randomise", action="store_true", help="draw batch statistics, scales and biases anew first")
    parser.add_argument("--jobs", type=int, default=1, help="models at once, each on its share of the cores")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    if options.one:
        print(json.dumps(examine(options.models[0], threads, export=not options.no_export, drawn=options.randomise)))
        return 0
    switches = [f"--jobs={options.jobs}"]
    switches += ["--no-export"] * options.no_export + ["--randomise"] * options.randomise
    rows = []
    print("| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS))
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(lambda name: in_own_process(name, switches), options.models or ZOO):
            rows.append(row)
            print("| " + " | ".join(str(row.get(column, "")) for column in _COLUMNS) + " |", flush=True)
    print_summary(rows)
    return 0 if all("proof" in row for row in rows) else 1


def in_own_process(name: str, switches: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, *switches]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        return {"model": name, "note": "stopped: " + (done.stderr.strip().splitlines() or ["?"])[-1][:120]}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def examine(name: str, threads: int, *, export: bool, drawn: bool) -> dict[str, Any]:
    """One row of the table, measured here and now."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    row: dict[str, Any] = {"model": name}
    started = time.monotonic()
    try:
        module, inputs = ZOO[name].build(), ZOO[name].inputs()
        if drawn:
            randomise(module)
        analysis = analyze(module, inputs)
        row["params"] = f"{analysis.record.prunable_parameters / analysis.record.parameters:.2f}"
        row["MACs"] = f"{analysis.record.prunable_macs / max(1, analysis.record.macs):.2f}"
        products = [analysis.prune(random_plan(analysis, seed), trials=1, seed=seed) for seed in range(3)]
        row["proof"] = f"{max(pruned.proof.relative_difference for pruned in products):.0e}"
        row["seen"] = f"{sum(pruned.proof.mask_changed_output for pruned in products)} of {len(products)}"
        row["product"] = "/".join(sorted({pruned.proof.product for pruned in products}))
        row["seconds"] = f"{time.monotonic() - started:.1f}"
        row["trains"] = "yes" if trains(products[0], inputs) else "NO"
        if export:
            row["onnx"] = exported(products[0], inputs)
        row["note"] = "; ".join(sorted({item.op for item in analysis.record.frozen}))
    except DeployPruneError as error:
        row["note"] = f"{type(error).__name__}: {error.message[:120]}"
    row["GiB"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f}"
    return row


def randomise(module: nn.Module) -> None:
    """Give batch norms statistics and scales, and all norms and biases values, as training would: none is 0 or 1."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).uniform_(-0.1, 0.1, generator=draw))
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
                part.running_mean.normal_(0, 0.1, generator=draw)
                part.running_var.uniform_(0.5, 1.5, generator=draw)
                if part.weight is not None:
                    part.weight.uniform_(0.5, 1.5, generator=draw)


def random_plan(analysis: GraphAnalysis, seed: int) -> dict[str, list[int]]:
    """About 30 % of the units of every group gone."""
    draw = torch.Generator().manual_seed(seed)
    plan = {}
    for group in analysis.record.groups:
        removed = 0.15 + 0.3 * float(torch.rand(1, generator=draw))
        count = max(1, round(group.size * (1 - removed)))
        plan[group.name] = sorted(torch.randperm(group.size, generator=draw)[:count].tolist())
    return plan


def trains(pruned: PrunedModel, inputs: tuple[Any, ...]) -> bool:
    """Whether one step gives finite gradients."""
    pruned.module.train()
    doubled = twice(inputs)
    try:
        outputs = flatten_outputs(pruned.module(*doubled))
    except RuntimeError:  # a parameter that only training uses, and that the captured graph has not, keeps its size
        return False
    loss = sum(out.float().square().mean() for out in outputs if out.requires_grad)
    loss.backward()
    pruned.module.eval()
    gradients = [parameter.grad for parameter in pruned.module.parameters() if parameter.grad is not None]
    return bool(gradients) and all(bool(gradient.isfinite().all()) for gradient in gradients)


def exported(pruned: PrunedModel, inputs: tuple[Any, ...]) -> str:
    """The largest relative difference of the ONNX file, through ONNX Runtime, to eager."""
    names = [f"input_{index}" for index in range(len(inputs))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            export_onnx(pruned.module, inputs, path, input_names=names)
            with get_backend("onnxruntime").open(path, Target(backend="onnxruntime")) as session:
                result = check_parity(session, pruned.module, inputs, artifact="model.onnx", backend="onnxruntime")
        except DeployPruneError as error:
            return f"{type(error).__name__}: {error.message[:80]}"
    return f"{result.max_relative:.0e}"


def print_summary(rows: list[dict[str, Any]]) -> None:
    proven = [row for row in rows if "proof" in row]
    shares = sorted(float(row["params"]) for row in proven)
    eager = sum(row["product"] == "eager" for row in proven)
    own = sum("graph" not in row["product"].split("/") for row in proven)
    print(
        f"\n{len(rows)} architectures, {len(proven)} pruned and proven (largest difference "
        f"{max((float(row['proof']) for row in proven), default=0):.0e}), own module kept in {own}, "
        f"in {eager} of them without any graft, "
        f"median share of prunable parameters {statistics.median(shares) if shares else 0:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
