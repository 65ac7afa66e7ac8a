"""The interval of predictions holds what it says, of variants that the table has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import Runtime, concat_net, plain_net

from deployprune.profiling.conformal import conformal_error
from deployprune.profiling.fit import fit_latency
from deployprune.profiling.table import choose_variants
from deployprune.records import Analysis


@pytest.mark.parametrize("net", [plain_net(), concat_net()], ids=["plain", "concat"])
def test_nine_of_ten_unseen_variants_lie_within(net: Analysis) -> None:
    runtime = Runtime(step=16, noise=0.02)
    table = runtime.table(net, runs=40)
    error = conformal_error(table, net)
    assert error is not None
    model = fit_latency(table, net)
    rng = np.random.default_rng(5)
    unseen = [runtime.run(net, widths, rng) for widths in choose_variants(net.groups, 60, seed=77)[1:]]
    within = [abs(model.predict_ms(run.widths) / run.total_ms - 1.0) <= error for run in unseen]
    assert np.mean(within) >= 0.8
    assert 0.01 < error < 0.12


def test_it_is_wider_on_a_noisy_machine() -> None:
    net = plain_net()
    calm, noisy = (conformal_error(Runtime(noise=noise).table(net, runs=40), net) for noise in (0.005, 0.05))
    assert calm is not None
    assert noisy is not None
    assert noisy > 2 * calm


def test_a_small_table_says_none() -> None:
    net = plain_net()
    table = Runtime().table(net)
    assert conformal_error(replace(table, runs=table.runs[:12]), net) is None
