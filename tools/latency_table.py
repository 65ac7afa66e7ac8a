"""Prints how far latency can be trusted here, as Markdown tables; each can be asked for alone."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import torch
from latency_landing import compare_here, print_landing, print_wolf
from latency_material import Conditions
from latency_models import MODELS
from latency_planning import print_optimality, print_worth
from latency_prediction import print_prediction

from deployprune.host import describe_host
from deployprune.records import Target

_TABLES = {
    "prediction": print_prediction,
    "optimality": print_optimality,
    "landing": print_landing,
    "wolf": print_wolf,
    "worth": print_worth,
}


def main() -> None:
    options = _parse()
    if options.compare:
        dense, candidate, backend, threads = options.compare
        compare_here(Path(dense), Path(candidate), Target(backend=backend, threads=int(threads)))
        return
    warnings.simplefilter("ignore")
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    conditions = Conditions(
        models=tuple(options.models.split(",")),
        backends=tuple(options.backends.split(",")),
        threads=tuple(int(count) for count in options.threads.split(",")),
        variants=options.variants,
        unseen=options.unseen,
        comparisons=options.comparisons,
    )
    host = describe_host()
    versions = ", ".join(f"{name} {host.versions[name]}" for name in conditions.backends if name in host.versions)
    print(f"{host.cpu}, {host.cores} cores, {versions}; load {os.getloadavg()[0]:.1f}\n")
    for name in options.tables.split(","):
        _TABLES["prediction" if name == "cost" else name](conditions)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", default=",".join(_TABLES), help="of prediction (with cost), " + ", ".join(_TABLES))
    parser.add_argument("--models", default=",".join(MODELS), help=", ".join(MODELS))
    parser.add_argument("--backends", default="onnxruntime,openvino")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--variants", type=int, default=40, help="that a table is made of")
    parser.add_argument("--unseen", type=int, default=20, help="that it is tried on")
    parser.add_argument("--comparisons", type=int, default=200, help="of a file with itself")
    parser.add_argument("--compare", nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
