"""The verdict over several targets, and whose reason it tells."""

from __future__ import annotations

import pytest
from made_up_run import verified

from deployprune.pipeline.judging import conclude
from deployprune.records import Verdict


@pytest.mark.parametrize("verdict", [Verdict.FAIL, Verdict.INCONCLUSIVE])
def test_every_target_that_decides_gives_its_reason(verdict: Verdict) -> None:
    both = conclude([verified("onnxruntime", verdict), verified("openvino", verdict)])
    assert both.verdict is verdict
    assert "onnxruntime: the interval" in both.reason
    assert "; openvino: the interval" in both.reason
    one = conclude([verified("onnxruntime"), verified("openvino", verdict)])
    assert one.verdict is verdict
    assert one.reason.startswith("openvino: ")


def test_where_all_pass_one_reason_is_enough() -> None:
    passed = conclude([verified("onnxruntime"), verified("openvino")])
    assert passed.verdict is Verdict.PASS
    assert passed.reason.startswith("onnxruntime: ")
    assert "openvino" not in passed.reason
