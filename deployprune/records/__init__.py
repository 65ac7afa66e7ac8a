"""The frozen records that pass from one step to the next, and that the run directory keeps.

Units: milliseconds, bytes, channels, seconds where a name ends in ``_s``. Every record is plain data:
no torch, no open file, nothing that cannot be written as JSON by :mod:`deployprune.codec`.
"""

from __future__ import annotations

from deployprune.records.graph import Analysis, Axis, ChannelGroup, DimForm, Frozen, LayerCost
from deployprune.records.latency import CostNode, LatencyModel, LatencyTable, NodeTime, VariantRun
from deployprune.records.measurement import Availability, DeviceSurvey, Host, Measurement, Ratio, Target, quantile
from deployprune.records.model import AccuracyResult, Artifact, InputSpec, ModelRef, ParityResult
from deployprune.records.planning import LoopStep, Plan
from deployprune.records.recovery import Proof, PrunedRecord, TrainingRecord
from deployprune.records.sweep import SweepPoint, SweepRecord, SweepSide, SweepTarget
from deployprune.records.verification import (
    SPARSE_ROLE,
    Comparison,
    LimitCheck,
    ModelCard,
    Verdict,
    VerificationRecord,
    Verified,
)

__all__ = [
    "SPARSE_ROLE",
    "AccuracyResult",
    "Analysis",
    "Artifact",
    "Availability",
    "Axis",
    "ChannelGroup",
    "Comparison",
    "CostNode",
    "DeviceSurvey",
    "DimForm",
    "Frozen",
    "Host",
    "InputSpec",
    "LatencyModel",
    "LatencyTable",
    "LayerCost",
    "LimitCheck",
    "LoopStep",
    "Measurement",
    "ModelCard",
    "ModelRef",
    "NodeTime",
    "ParityResult",
    "Plan",
    "Proof",
    "PrunedRecord",
    "Ratio",
    "SweepPoint",
    "SweepRecord",
    "SweepSide",
    "SweepTarget",
    "Target",
    "TrainingRecord",
    "VariantRun",
    "Verdict",
    "VerificationRecord",
    "Verified",
    "quantile",
]
