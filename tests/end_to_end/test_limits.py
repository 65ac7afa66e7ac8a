"""Limits beside latency, and settings for some groups: what is asked for is kept in the file that ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toy_project import FAST, INPUT, network, only_run
from warm_process import Ended, WarmProcess

from deployprune.rundir import RunDirectory
from deployprune.steps import ANALYSIS, EXPORT, PLAN, VERIFICATION

DENSE_PARAMETERS = sum(parameter.numel() for parameter in network().parameters())


def compress(warm: WarmProcess, folder: Path, *words: str, speedup: str = "1.1x", **request: Any) -> Ended:
    given = ["--input", INPUT, "--speedup", speedup, "--no-unstructured", *FAST]
    return warm.run("compress", "model.pt", *given, *words, cwd=folder, **request)


def test_all_limits_are_kept_and_shown(fresh_project: Path, warm: WarmProcess) -> None:
    limits = ["--max-parameters", "60%", "--max-macs", "1.7M", "--max-size", "24kB"]
    ended = compress(warm, fresh_project, *limits)
    assert ended.code == 0, ended.stderr
    run = RunDirectory.view(only_run(fresh_project))
    record, analysis = run.read(VERIFICATION), run.read(ANALYSIS)
    assert {check.name: check.limit for check in record.limits} == {
        "parameters": int(0.6 * DENSE_PARAMETERS),
        "macs": 1_700_000,
        "size": 24_000,
    }
    assert all(check.reached <= check.limit for check in record.limits), record.limits
    assert max(check.reached / check.limit for check in record.limits) >= 0.85
    reached = {check.name: check.reached for check in record.limits}
    assert reached["size"] == (run.root / "export/model.onnx").stat().st_size
    assert reached["macs"] == analysis.macs_at(run.read(PLAN).widths)
    assert analysis.parameters == DENSE_PARAMETERS
    shown = " ".join(ended.stdout.split())
    assert "MACs: " in shown
    assert f"of the limit ({reached['size'] / 1000:.1f} kB of 24.0 kB" in shown


def test_a_model_that_is_fast_enough_is_pruned_to_its_limits(fresh_project: Path, warm: WarmProcess) -> None:
    words = ["--input", INPUT, "--target-latency", "30ms", "--no-unstructured", *FAST]
    ended = warm.run("compress", "model.pt", *words, "--max-parameters", "70%", "--json", cwd=fresh_project)
    assert ended.code == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert not record["already_met"]
    (check,) = record["limits"]
    assert 0.85 * check["limit"] <= check["reached"] <= check["limit"]


def test_a_limit_out_of_reach_is_refused_with_the_least(fresh_project: Path, warm: WarmProcess) -> None:
    ended = compress(warm, fresh_project, "--max-parameters", "100")
    assert ended.code == 3
    assert "error: the limit of 100 for parameters is below the least of " in ended.stderr
    assert "allow more than " in ended.stderr
    assert not RunDirectory.view(only_run(fresh_project)).has(EXPORT)


def test_limits_alone_are_no_budget(fresh_project: Path, warm: WarmProcess) -> None:
    ended = warm.run("compress", "model.pt", "--input", INPUT, "--max-size", "50%", *FAST, cwd=fresh_project)
    assert ended.code == 2
    assert "there is no latency budget" in ended.stderr


def test_groups_have_widths_and_steps_of_their_own(fresh_project: Path, warm: WarmProcess) -> None:
    settings = "pruning: {groups: {'*': {step: 5}, '0': {min_width: 1.0}}}"
    (fresh_project / "deployprune.yaml").write_text(settings)
    ended = compress(warm, fresh_project, speedup="1.3x")
    assert ended.code in (0, 1), ended.stderr
    widths = RunDirectory.view(only_run(fresh_project)).read(PLAN).widths
    assert widths["0"] == 32
    assert widths["3"] < 32
    assert widths["3"] % 5 == 0
    assert "--config" in ended.stdout


def test_a_pattern_that_matches_nothing_is_refused(fresh_project: Path, warm: WarmProcess) -> None:
    (fresh_project / "deployprune.yaml").write_text("pruning: {groups: {'00': {min_width: 0.5}}}")
    ended = compress(warm, fresh_project)
    assert ended.code == 2
    assert "error: $.pruning.groups['00']: the pattern matches no channel group or module" in ended.stderr
    assert "did you mean 0?" in ended.stderr
