"""The order of the steps, and nothing else."""

from __future__ import annotations

from deployprune.config import require_target
from deployprune.pipeline.concluding import export_candidate, ship_dense, verify
from deployprune.pipeline.preparing import measure_tables, prepare
from deployprune.pipeline.reducing import decide_widths, make_twin, prune, recover_accuracy
from deployprune.pipeline.run import Run
from deployprune.pipeline.targets import goal_ratios
from deployprune.records import VerificationRecord

__all__ = ["do_all_steps"]


def do_all_steps(run: Run) -> VerificationRecord:
    """From the model to the verdict; what has its record already is not done again. Raises the errors of each step."""
    require_target(run.config)
    prepare(run)
    tables = measure_tables(run)
    goals = goal_ratios(run.config, tables, list(tables))
    if min(goals.values()) >= 1.0 and run.dense_keeps_limits():
        return ship_dense(run, goals)
    plan = decide_widths(run, tables, {key: min(goal, 1.0) for key, goal in goals.items()})
    prune(run, plan)
    recover_accuracy(run, plan)
    make_twin(run)
    export_candidate(run)
    return verify(run, tables, plan)
