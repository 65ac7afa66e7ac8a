"""The fit finds a made-up runtime's law again, from two dozen noisy runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from simulated import (
    PackedRuntime,
    ReorderingRuntime,
    Runtime,
    ThinRuntime,
    UnalignedRuntime,
    attention_net,
    concat_net,
    joined_net,
    plain_net,
    thin_net,
)

from deployprune.errors import UsageError
from deployprune.profiling.fit import fit_latency, learn_channel_step, prediction_error
from deployprune.profiling.nodes import Samples, law_error
from deployprune.profiling.terms import CONSTANT, Sizes, Stairs, Term
from deployprune.records import Analysis, DimForm, LatencyTable

NETS = {"plain": plain_net(), "concat": concat_net(), "attention": attention_net()}


def without_nodes(table: LatencyTable) -> LatencyTable:
    return replace(table, runs=tuple(replace(run, nodes=()) for run in table.runs))


@pytest.mark.parametrize("step", [1, 8, 16])
@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_predicts_unseen_variants(net: Analysis, step: int) -> None:
    runtime = Runtime(step=step)
    model = fit_latency(runtime.table(net), net)
    assert prediction_error(model, runtime.unseen(net)) < 0.025


@pytest.mark.parametrize("step", [1, 8, 16])
@pytest.mark.parametrize("net", [plain_net(), concat_net()], ids=["plain", "concat"])
def test_learns_the_step(net: Analysis, step: int) -> None:
    assert learn_channel_step(Runtime(step=step).table(net), net) == step


@pytest.mark.parametrize("step", [1, 8])
def test_predicts_a_runtime_that_packs_channels_and_works_in_tiles(step: int) -> None:
    net, runtime = plain_net(), PackedRuntime(step=16, noise=0.01)
    model = fit_latency(runtime.table(net, runs=40), net)
    unseen = runtime.unseen(net, step=step)
    assert prediction_error(model, unseen) < 0.02
    assert max(prediction_error(model, [run]) for run in unseen) < 0.06


def test_predicts_a_kernel_for_thin_inputs_whose_threads_share_rows_of_sets() -> None:
    net, runtime = thin_net(), ThinRuntime(step=16, noise=0.01)
    model = fit_latency(runtime.table(net, runs=40), net)
    unseen = runtime.unseen(net, step=8)
    assert any(run.widths["stem"] < 16 for run in unseen)
    assert prediction_error(model, unseen) < 0.015
    assert max(prediction_error(model, [run]) for run in unseen) < 0.03


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_predicts_from_a_table_of_which_two_profiles_in_five_were_disturbed(net: Analysis) -> None:
    """Some of their nodes took up to three times as long, others what they always take; the totals are undisturbed."""
    runtime, rng = Runtime(step=8, noise=0.01), np.random.default_rng(3)
    table = runtime.table(net, runs=40)
    disturbed = tuple(
        replace(run, nodes=tuple(replace(node, ms=node.ms * rng.choice([1.0, 3.0])) for node in run.nodes))
        if position % 5 in (1, 3)
        else run
        for position, run in enumerate(table.runs)
    )
    model = fit_latency(replace(table, runs=disturbed), net)
    assert prediction_error(model, runtime.unseen(net)) < 0.01


@pytest.mark.parametrize("net", [plain_net(), concat_net(), joined_net()], ids=["plain", "concat", "joined"])
@pytest.mark.parametrize("step", [1, 8, 16])
def test_predicts_reorders_where_blocked_layouts_end(net: Analysis, step: int) -> None:
    runtime = ReorderingRuntime(step=16, noise=0.01)
    model = fit_latency(runtime.table(net, runs=40), net)
    assert prediction_error(model, runtime.unseen(net, step=step)) < 0.005


@pytest.mark.parametrize("seed", range(6))
def test_takes_the_nodes_word_where_the_totals_tell_nothing(seed: int) -> None:
    """Six variants of nearly the same latency: how the totals go with the nodes is hidden by their noise."""
    net = plain_net()
    narrow = replace(net, groups=tuple(replace(group, minimum=round(0.97 * group.size)) for group in net.groups))

    table, rng = Runtime(step=8, noise=0.0).table(narrow, runs=6, seed=seed), np.random.default_rng(seed)
    noisy = replace(
        table, runs=tuple(replace(run, total_ms=run.total_ms * rng.normal(1.0, 0.01)) for run in table.runs)
    )

    def movable_ms(table: LatencyTable) -> float:
        model = fit_latency(table, net)
        return model.predict_ms(net.dense_widths()) - model.constant_ms

    assert movable_ms(noisy) == pytest.approx(movable_ms(table), rel=0.2)


def test_runs_that_a_law_misses_altogether_say_little_of_it() -> None:
    sizes = Sizes([{"a": width} for width in range(8, 48)])
    law = (CONSTANT, Term(factors=(Stairs(form=DimForm(constant=0, terms=((1.0, ("a",)),))),)))
    ms = sizes.design(law).sum(axis=1)
    ms[3] *= 60.0  # one width has a kernel of its own
    assert law_error(Samples(name="stem", sizes=sizes, ms=ms), law) == pytest.approx(0.25 / 40, rel=0.1)


def test_follows_nodes_that_change_their_names_off_the_alignment() -> None:
    net, runtime = plain_net(), Runtime(step=16, cliff=1.8, renames=True)
    table = runtime.table(net)
    assert len({node.name for run in table.runs for node in run.nodes}) > len(net.layers)
    model = fit_latency(table, net)
    assert prediction_error(model, runtime.unseen(net)) < 0.025
    ragged = {"a": 29, "b": 61, "c": 125, "d": 123, "e": 253, "idle": 64}
    aligned = {"a": 32, "b": 64, "c": 128, "d": 128, "e": 256, "idle": 64}
    assert model.predict_ms(ragged) > 1.4 * model.predict_ms(aligned)


def test_takes_padded_dimensions_for_what_they_are() -> None:
    net, runtime = plain_net(), Runtime(step=16, noise=0.0)

    def pad(shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(
            -(-size // 16) * 16 if i == 1 and size > 3 and size % 4 == 0 else size for i, size in enumerate(shape)
        )

    def padded(table: LatencyTable) -> LatencyTable:
        runs = [
            replace(run, nodes=tuple(replace(n, inputs=(pad(n.inputs[0]), *n.inputs[1:])) for n in run.nodes))
            for run in table.runs
        ]
        return replace(table, runs=tuple(runs))

    model = fit_latency(padded(runtime.table(net)), net)
    assert {name for node in model.nodes for name in node.groups} == set("abcde")
    assert prediction_error(model, runtime.unseen(net)) < 0.02


def test_does_without_node_times() -> None:
    net, runtime = plain_net(), Runtime(step=16)
    table = without_nodes(runtime.table(net))
    assert learn_channel_step(table, net) == 16
    model = fit_latency(table, net)
    assert prediction_error(model, runtime.unseen(net)) < 0.04
    assert all(node.groups for node in model.nodes)


def test_node_times_of_half_of_the_runs_are_enough() -> None:
    net, runtime = plain_net(), Runtime(step=16)
    whole = runtime.table(net)
    half = tuple(replace(run, nodes=run.nodes if index % 2 else ()) for index, run in enumerate(whole.runs))
    table = replace(whole, runs=half)
    assert learn_channel_step(table, net) == 16
    assert prediction_error(fit_latency(table, net), runtime.unseen(net)) < 0.025
    few = tuple(replace(run, nodes=run.nodes if index < 4 else ()) for index, run in enumerate(whole.runs))
    layers = fit_latency(without_nodes(whole), net)
    assert fit_latency(replace(whole, runs=few), net) == layers


def test_counts_nodes_that_only_some_runs_have() -> None:
    net, runtime = plain_net(), Runtime(step=16)
    table = runtime.table(net)
    extra = [
        replace(
            run,
            nodes=(*run.nodes, replace(run.nodes[0], name="reorder", kind="Reorder", ms=0.05)),
            total_ms=run.total_ms + 0.053,
        )
        if index % 2
        else run
        for index, run in enumerate(table.runs)
    ]
    plain, crowded = fit_latency(table, net), fit_latency(replace(table, runs=tuple(extra)), net)
    dense = net.dense_widths()
    added = crowded.predict_ms(dense) - plain.predict_ms(dense)
    assert 0.0 < added < 0.06


def test_a_group_that_no_layer_depends_on_costs_nothing() -> None:
    net = plain_net()
    model = fit_latency(Runtime().table(net), net)
    dense = net.dense_widths()
    assert model.predict_ms({**dense, "idle": 1}) == model.predict_ms(dense)
    assert not any("idle" in node.groups for node in model.nodes)


@pytest.mark.parametrize("net", [plain_net(), joined_net()], ids=["plain", "joined"])
def test_learns_what_only_whole_runs_pay_off_the_step(net: Analysis) -> None:
    runtime = UnalignedRuntime(step=16, noise=0.005)
    model = fit_latency(runtime.table(net, runs=40), net)
    for step in (1, 16):
        assert prediction_error(model, runtime.unseen(net, step=step)) < 0.012


def test_nodes_that_were_timed_while_the_machine_was_slow_bend_nothing() -> None:
    net, runtime = plain_net(), Runtime(noise=0.002)
    table = runtime.table(net)
    slow = [
        replace(run, nodes=tuple(replace(node, ms=node.ms * 1.3) for node in run.nodes)) if 4 < index < 13 else run
        for index, run in enumerate(table.runs)
    ]
    model = fit_latency(replace(table, runs=tuple(slow)), net)
    assert prediction_error(model, runtime.unseen(net)) < 0.01


def test_one_disturbed_run_does_not_bend_the_fit() -> None:
    net, runtime = plain_net(), Runtime()
    table = runtime.table(net)
    slow = replace(
        table.runs[5],
        total_ms=table.runs[5].total_ms * 3,
        nodes=tuple(replace(node, ms=node.ms * 3) for node in table.runs[5].nodes),
    )
    model = fit_latency(replace(table, runs=(*table.runs[:5], slow, *table.runs[6:])), net)
    assert prediction_error(model, runtime.unseen(net)) < 0.03


def test_prediction_is_the_constant_and_the_nodes() -> None:
    net = concat_net()
    model = fit_latency(Runtime().table(net), net)
    widths = {group.name: max(1, group.size // 2) for group in net.groups}
    nodes = sum(node.cost_ms({name: widths[name] for name in node.groups}) for node in model.nodes)
    assert model.predict_ms(widths) == pytest.approx(model.constant_ms + nodes)


def test_equal_tables_give_equal_models() -> None:
    net = plain_net()
    assert fit_latency(Runtime().table(net), net) == fit_latency(Runtime().table(net), net)


def test_refuses_a_table_of_too_few_runs() -> None:
    net = plain_net()
    with pytest.raises(UsageError, match="5 runs"):
        fit_latency(Runtime().table(net, runs=5), net)
