"""All that a run directory holds, read once, for the reports to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployprune.config import Config
from deployprune.records import Analysis, Host, LatencyTable, Plan, VerificationRecord
from deployprune.rundir import RunDirectory
from deployprune.steps import (
    ANALYSIS,
    DENSE,
    EXPORT,
    HOST,
    MODEL,
    PLAN,
    PRUNED,
    RECOVERY,
    UNSTRUCTURED,
    VERIFICATION,
    ExportRecord,
    LoadedRecord,
    RecoveryRecord,
    SurgeryRecord,
    UnstructuredRecord,
)

__all__ = ["RunView", "read_view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run's records; None for every step that has not ended."""

    root: Path
    config: Config
    host: Host | None
    loaded: LoadedRecord | None
    analysis: Analysis | None
    dense: ExportRecord | None
    tables: dict[str, LatencyTable]
    plan: Plan | None
    surgery: SurgeryRecord | None
    recovery: RecoveryRecord | None
    unstructured: UnstructuredRecord | None
    export: ExportRecord | None
    verification: VerificationRecord | None

    @property
    def model_name(self) -> str:
        """What the model is called in a report."""
        source = self.loaded.model.source if self.loaded else self.config.model.source
        return Path(source).name if source else "model"


def read_view(run: RunDirectory) -> RunView:
    """Read what is there. Raises RunDirectoryError naming a record that is damaged."""
    return RunView(
        root=run.root,
        config=run.config,
        host=run.find(HOST),
        loaded=run.find(MODEL),
        analysis=run.find(ANALYSIS),
        dense=run.find(DENSE),
        tables=run.tables(),
        plan=run.find(PLAN),
        surgery=run.find(PRUNED),
        recovery=run.find(RECOVERY),
        unstructured=run.find(UNSTRUCTURED),
        export=run.find(EXPORT),
        verification=run.find(VERIFICATION),
    )
