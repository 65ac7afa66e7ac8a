"""Prints how far latency can be trusted here, as Markdown tables; each can be asked for alone."""

from __future__ import annotations

import argparse
import itertools
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from core_distance import describe_distance
from latency_landing import print_landing, print_wolf
from latency_material import Case, Conditions
from latency_models import MODELS
from latency_planning import print_optimality, print_worth
from latency_prediction import print_prediction

from deployprune.host import describe_host

_TABLES = {
    "prediction": print_prediction,
    "optimality": print_optimality,
    "landing": print_landing,
    "wolf": print_wolf,
    "worth": print_worth,
}


def main() -> None:
    options = _parse()
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    with TemporaryDirectory(prefix="bench-latency-") as temporary:
        conditions = _conditions(options, Path(options.recordings or temporary))
        _print_host(options.backends)
        if any(case.threads > 1 for case in conditions.cases):
            print(f"{describe_distance()}\n")
        for name in options.tables.split(","):
            _TABLES["prediction" if name == "cost" else name](conditions)


def _conditions(options: argparse.Namespace, recordings: Path) -> Conditions:
    threads = [int(count) for count in options.threads.split(",")]
    cases = itertools.product(options.models.split(","), threads, options.backends.split(","))
    return Conditions(
        cases=tuple(Case(model=model, backend=backend, threads=count) for model, count, backend in cases),
        variants=options.variants,
        unseen=options.unseen,
        runs=options.runs,
        comparisons=options.comparisons,
        recordings=recordings,
    )


def _print_host(backends: str) -> None:
    host = describe_host()
    versions = ", ".join(f"{name} {host.versions[name]}" for name in backends.split(",") if name in host.versions)
    print(f"{host.cpu}, {host.cores} cores, {versions}; load {os.getloadavg()[0]:.1f}\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default=",".join(_TABLES), help="of prediction (with cost), " + ", ".join(_TABLES))
    parser.add_argument("--models", default=",".join(MODELS), help=", ".join(MODELS))
    parser.add_argument("--backends", default="onnxruntime,openvino")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--variants", type=int, default=40, help="that a table is made of")
    parser.add_argument("--unseen", type=int, default=20, help="that it is tried on")
    parser.add_argument("--runs", type=int, default=20, help="to a target, over all models and goals")
    parser.add_argument("--comparisons", type=int, default=200, help="of a file with itself, over all models")
    parser.add_argument("--recordings", help="folder in which what was measured is kept, and found again")
    return parser.parse_args()


if __name__ == "__main__":
    main()
