"""Where a setting comes from, which one wins, and what is refused with its path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployprune.command_line import command_line
from deployprune.config import Config, dump_config, load_config, parse_config, require_target
from deployprune.environment import environment_name
from deployprune.errors import UsageError
from deployprune.options import config_settings


def load(
    flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None, path: Path | None = None
) -> Config:
    return load_config(path, flags or {}, environ or {})


def write(folder: Path, text: str) -> Path:
    path = folder / "deployprune.yaml"
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    path = write(tmp_path, "recovery: {epochs: 1, batch_size: 10, learning_rate: 1e-3}\nseed: 4")
    environ = {"DEPLOYPRUNE_RECOVERY_EPOCHS": "2", "DEPLOYPRUNE_RECOVERY_BATCH_SIZE": "20"}
    config = load({"recovery.epochs": 3}, environ, path)
    assert (config.recovery.epochs, config.recovery.batch_size, config.seed) == (3, 20, 4)
    assert config.recovery.learning_rate == 1e-3


def test_the_file_of_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "seed: 7")
    monkeypatch.chdir(tmp_path)
    assert load().seed == 7


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"recovery.epoch": 1}, r"\$\.recovery\.epoch: unknown key, did you mean `epochs`\?"),
        ({"recoveri.epochs": 1}, r"\$\.recoveri: unknown key, did you mean `recovery`\?"),
        ({"recovery.epochs": -1}, r"\$\.recovery\.epochs: expected a whole number >= 0"),
        ({"recovery.epochs": "many"}, r"\$\.recovery\.epochs: expected a whole number"),
        ({"target.latency": "30"}, r"\$\.target\.latency: latency '30' has no unit"),
        ({"target.latency": "0ms"}, r"\$\.target\.latency: .*not a time"),
        ({"target.latency": "-5ms"}, r"\$\.target\.latency: .*not a time"),
        ({"model.inputs": "1x3"}, r"\$\.model\.inputs: expected a list, got text"),
        ({"target.speedup": "0.5x"}, r"\$\.target\.speedup: .*not a factor"),
        ({"target.backends": []}, r"\$\.target\.backends"),
        ({"target.max_accuracy_drop": -1}, r"\$\.target\.max_accuracy_drop"),
        ({"recovery.optimizer": "adam"}, r"\$\.recovery\.optimizer"),
        ({"recovery": 3}, r"\$\.recovery: expected keys and values"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=f"^command line: {expected}"):
        load(flags)


def test_an_error_in_the_file_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "recovery: {epoch: 3}")
    with pytest.raises(UsageError, match=r"deployprune\.yaml: \$\.recovery\.epoch: unknown key, did you mean `epochs`"):
        load(path=path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "yaml, line 1, column 6 is not valid YAML"),
        ("- 1", "expected keys and values, got a list"),
        ("target:\n\tspeedup: 2x", "line 2, column 1 is not valid YAML: found character '.t'"),
        (
            "target: {speedup: 2x}\nseed: 1\ntarget: {threads: 2}",
            "line 3: `target` is given a second time, after line 1",
        ),
        ("target: {threads: 1,\n  threads: 2}", "line 2: `threads` is given a second time"),
        ("seed: &a [*a]", r"\$\.seed: expected a whole number"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        load(path=write(tmp_path, text))


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration .*none\.yaml"):
        load(path=tmp_path / "none.yaml")


def test_a_mistyped_environment_variable_is_not_ignored() -> None:
    with pytest.raises(UsageError, match=r"DEPLOYPRUNE_RECOVERY_EPOCH: .*did you mean `epochs`"):
        load(environ={"DEPLOYPRUNE_RECOVERY_EPOCH": "3"})


def test_trusting_pickles_is_a_flag_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\$\.model\.trust_pickle may not be set here"):
        load(path=write(tmp_path, "model: {trust_pickle: true}"))
    with pytest.raises(UsageError, match=r"\$\.model\.trust_pickle may not be set here"):
        load(environ={"DEPLOYPRUNE_MODEL_TRUST_PICKLE": "true"})
    trusted = load({"model.trust_pickle": True})
    assert trusted.model.trust_pickle
    assert "trust" not in dump_config(trusted)


def test_lists_mappings_and_truth_values_can_stand_in_the_environment() -> None:
    environ = {
        "DEPLOYPRUNE_TARGET_BACKENDS": "fake, onnxruntime",
        "DEPLOYPRUNE_MODEL_ARCH_KWARGS": "{width: 16, name: a}",
        "DEPLOYPRUNE_EXPORT_STATIC": "true",
        "DEPLOYPRUNE_DATA_MEAN": "0.5,0.25",
    }
    config = load(environ=environ)
    assert config.target.backends == ["fake", "onnxruntime"]
    assert config.model.arch_kwargs == {"width": 16, "name": "a"}
    assert config.export.static
    assert config.data.mean == [0.5, 0.25]


def test_a_budget_of_a_higher_place_replaces_the_lower_one(tmp_path: Path) -> None:
    config = load({"target.speedup": "2x"}, path=write(tmp_path, "target: {latency: 30ms, threads: 2}"))
    assert (config.target.latency_ms, config.target.speedup_factor, config.target.threads) == (None, 2.0, 2)
    require_target(config)


def test_compress_needs_exactly_one_budget() -> None:
    with pytest.raises(UsageError, match="no latency budget"):
        require_target(load())
    with pytest.raises(UsageError, match="both"):
        load({"target.speedup": 2, "target.latency": "30ms"})


def test_the_written_configuration_reads_back_equal() -> None:
    config = load({"target.latency": "30ms", "model.arch_kwargs": {"depth": 20}, "pruning.ignore": ["head.*"]})
    assert parse_config(dump_config(config), "config.yaml") == config


def test_the_command_line_names_what_differs_from_the_defaults() -> None:
    flags = {"model.source": "my model.pt", "target.speedup": "2x", "verification.unstructured": False, "seed": 3}
    words = command_line(load({**flags, "model.arch_kwargs": {"depth": 20}, "export.static": True}))
    assert " ".join(words) == (
        "deployprune compress 'my model.pt' --arch-arg depth=20 --speedup 2x --static --no-unstructured --seed 3"
    )


def test_every_setting_has_help_and_names_of_its_own() -> None:
    settings = config_settings()
    assert all(setting.help for setting in settings)
    assert len({setting.flag for setting in settings}) == len(settings)
    assert len({environment_name(setting) for setting in settings}) == len(settings)


TWO_TARGETS: list[dict[str, Any]] = [{"backend": "fake"}, {"backend": "fake", "threads": 2, "speedup": "3x"}]


def test_targets_take_what_they_leave_out_from_the_common_section() -> None:
    flags = {"target.latency": "5ms", "target.precision": "bf16", "target.batch": 4, "targets": TWO_TARGETS}
    config = load({**flags, "target.device": "ssh://board"})
    (first, budget), (second, own) = config.budgets.items()
    assert (first.threads, first.precision, first.batch, first.device) == (1, "bf16", 4, "ssh://board")
    assert (second.threads, second.precision, second.batch, second.device) == (2, "bf16", 4, "ssh://board")
    assert (budget.latency_ms, budget.speedup_factor) == (5.0, None)
    assert (own.latency_ms, own.speedup_factor) == (None, 3.0)
    require_target(config)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"backend": "fake", "threads": 1}, r"\$\.targets\[2\]: the same backend, .* as \$\.targets\[0\]"),
        ({"backend": "fake", "thread": 4}, r"\$\.targets\[2\]\.thread: unknown key, did you mean `threads`\?"),
        ({"backend": "x", "latency": "30"}, r"\$\.targets\[2\]\.latency: .*has no unit"),
        ({"backend": "x", "speedup": 1}, r"\$\.targets\[2\]\.speedup: .*not a factor"),
        ({"backend": "x", "speedup": "2x", "latency": "3ms"}, r"\$\.targets\[2\]: both latency and speedup"),
        ({"threads": 2}, r"\$\.targets\[2\]: object missing required field `backend`"),
        ({"backend": "x", "threads": 0}, r"\$\.targets\[2\]\.threads: expected a whole number >= 1"),
        ({"backend": "x", "batch": 2}, r"\$\.targets\[2\]\.batch: unknown key"),
        ("fake", r"\$\.targets\[2\]: expected keys and values"),
    ],
)
def test_a_wrong_target_is_named_with_its_path(target: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=f"^command line: {expected}"):
        load({"targets": [*TWO_TARGETS, target], "target.speedup": "2x"})


def test_every_target_needs_a_budget_and_every_budget_a_target() -> None:
    with pytest.raises(UsageError, match=r"^\$\.targets\[0\]: there is no latency budget"):
        require_target(load({"targets": TWO_TARGETS}))
    with pytest.raises(UsageError, match=r"\$\.target: this latency budget counts for none"):
        load({"targets": TWO_TARGETS[1:], "target.speedup": "2x"})
    with pytest.raises(UsageError, match=r"^configuration: \$\.target\.backends is given beside \$\.targets"):
        load({"targets": TWO_TARGETS, "target.backends": ["fake"]})


def test_targets_and_groups_stand_in_a_file_only(tmp_path: Path) -> None:
    for name in ("DEPLOYPRUNE_TARGETS", "DEPLOYPRUNE_PRUNING_GROUPS"):
        with pytest.raises(UsageError, match=f"^{name}: .* may not be set here"):
            load(environ={name: "[]"})
    text = "targets: [{backend: fake}, {backend: fake, threads: 2}]\npruning: {groups: {'a*': {min_width: 0.5}}}"
    config = load({"target.speedup": "2x"}, path=write(tmp_path, text))
    assert len(config.budgets) == 2
    assert parse_config(dump_config(config), "config.yaml") == config
    again = command_line(config, saved=tmp_path / "config.yaml")
    assert again == ["deployprune", "compress", f"--config {tmp_path / 'config.yaml'}"]


def test_limits_are_numbers_or_shares_of_the_dense_model() -> None:
    config = load({"pruning.max_parameters": "1.5M", "pruning.max_macs": "50%", "pruning.max_size": "300 kB"})
    limits = config.pruning.limits
    assert {name: amount.of(4e6) for name, amount in limits.items()} == {"parameters": 1.5e6, "macs": 2e6, "size": 3e5}
    assert load({"pruning.max_parameters": 12000}).pruning.limits["parameters"].of(1) == 12000
    assert not load().pruning.limits


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"pruning.max_parameters": "many"}, r"\$\.pruning\.max_parameters: 'many' is not a number"),
        ({"pruning.max_macs": "120%"}, r"\$\.pruning\.max_macs: '120%' is not a number above zero, or a share"),
        ({"pruning.max_size": "4M"}, r"\$\.pruning\.max_size: '4M' is not a size"),
        ({"pruning.max_macs": 0}, r"\$\.pruning\.max_macs: '0' is not a number above zero"),
        ({"pruning.groups": {"a": {"min_widht": 1}}}, r"\$\.pruning\.groups\['a'\]\.min_widht: .*`min_width`\?"),
        (
            {"pruning.groups": {"a": {"min_width": 2}}},
            r"\$\.pruning\.groups\[\.\.\.\]\.min_width: expected a number <= 1",
        ),
        ({"pruning.groups": {"a": 3}}, r"\$\.pruning\.groups\[\.\.\.\]: expected keys and values"),
    ],
)
def test_wrong_limits_and_groups_are_named_with_their_path(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=f"^command line: {expected}"):
        load(flags)
