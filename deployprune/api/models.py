"""Models in and out: as they come, and as a run left them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from deployprune.graph.shrink import patch
from deployprune.graph.surgery import slice_parameters
from deployprune.pipeline.run import RECOVERED_WEIGHTS
from deployprune.pipeline.weights import read_weights
from deployprune.pipeline.workbench import Workbench
from deployprune.progress import SilentObserver
from deployprune.records import ModelRef
from deployprune.rundir import RunDirectory
from deployprune.sources import models
from deployprune.steps import MODEL, PLAN, PRUNED, VERIFICATION

__all__ = ["load_model", "load_pruned"]


def load_model(
    source: str | Path,
    *,
    arch: str | None = None,
    arch_kwargs: dict[str, Any] | None = None,
    trust_pickle: bool = False,
) -> nn.Module:
    """Load a model file or a zoo's model in evaluation mode; see :func:`deployprune.sources.models.load_model`."""
    return models.load_model(source, arch=arch, arch_kwargs=arch_kwargs, trust_pickle=trust_pickle)[0]


def load_pruned(run: str | Path, *, trust_pickle: bool = False) -> nn.Module:
    """The recovered model of a run, made again from the dense model, the kept indices and safetensors; no pickle.

    Of a run whose budget was met already it is the dense model, which is what the run ships.
    Raises RunDirectoryError where the run has not come so far.
    """
    directory = RunDirectory.view(Path(run))
    verification = directory.find(VERIFICATION)
    if verification is not None and verification.already_met:
        return _load_dense(directory.read(MODEL).model, trust_pickle=trust_pickle).eval()
    record = directory.read(PRUNED).pruned
    dense = _load_dense(record.model, trust_pickle=trust_pickle)
    if record.product == "eager":
        module = copy.deepcopy(dense)
        slice_parameters(module, record.kept)
        patch(module, record.attributes)
    else:
        bench = Workbench(directory.config, SilentObserver())
        kept = directory.read(PLAN).kept
        module = bench.analysis.rebuild(kept, record.product, record.attributes, record.grafted)
    read_weights(module, directory.path(RECOVERED_WEIGHTS))
    return module.eval()


def _load_dense(model: ModelRef, *, trust_pickle: bool) -> nn.Module:
    return models.load_model(model.source, arch=model.arch, arch_kwargs=model.arch_kwargs, trust_pickle=trust_pickle)[0]
