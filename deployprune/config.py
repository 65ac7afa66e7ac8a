"""The configuration of a run: found, read, checked and written.

A setting is looked for on the command line, then in the environment (``DEPLOYPRUNE_RECOVERY_EPOCHS=3``), then in
``deployprune.yaml``; what none of them sets has the default of :mod:`deployprune.options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from deployprune.environment import read_environment
from deployprune.errors import UsageError
from deployprune.options import Config, config_settings
from deployprune.settings import merge, unflatten
from deployprune.strict_yaml import read_mapping
from deployprune.validation import validate

__all__ = [
    "COMMAND_LINE",
    "CONFIG_NAME",
    "Config",
    "dump_config",
    "load_config",
    "parse_config",
    "require_model",
    "require_target",
]

CONFIG_NAME = "deployprune.yaml"
COMMAND_LINE = "command line"
"""What errors call the place of flags."""
_BUDGETS = ("latency", "speedup")


def load_config(path: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The effective configuration: ``flags`` (dotted names to values) over the environment over the file.

    ``path`` is the file; where it is None, ``deployprune.yaml`` in the working directory is read if there is one.
    Raises UsageError naming the source and the path of anything unknown or of a wrong type.
    """
    found = path or Path(CONFIG_NAME)
    layers = [(COMMAND_LINE, unflatten(flags))]
    layers.insert(0, ("environment", unflatten(read_environment(environ))))
    if path is not None or found.is_file():
        layers.insert(0, (str(found), read_mapping(_read_text(found), str(found))))
    merged: dict[str, Any] = {}
    for where, values in layers:
        if where != COMMAND_LINE:
            _refuse_flag_only(values, where)
        validate(Config, values, where)
        merged = merge(_without_replaced_budget(merged, values), values)
    _refuse_replaced(merged, "configuration")
    return validate(Config, merged, "configuration")


def parse_config(text: str, where: str) -> Config:
    """The configuration in a YAML text such as a run's ``config.yaml``; ``where`` names it in errors."""
    values = read_mapping(text, where)
    _refuse_flag_only(values, where)
    _refuse_replaced(values, where)
    return validate(Config, values, where)


def dump_config(config: Config) -> str:
    """``config`` as YAML that :func:`parse_config` reads; permissions that are flags only are left out."""
    import yaml

    tree = msgspec.to_builtins(config)
    for setting in config_settings():
        if setting.flag_only:
            del tree[setting.path[0]][setting.path[1]]
    if config.targets:
        del tree["target"]["backends"]
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def require_model(config: Config) -> str:
    """The model's source; raises UsageError where none is configured."""
    if config.model.source is None:
        raise UsageError(
            "no model is named", hint="give a model file, or set model.source in deployprune.yaml; see --help"
        )
    return config.model.source


def require_target(config: Config) -> None:
    """Check that every target has a latency budget (two are refused when loading); raises UsageError for none."""
    hint = "give one of --target-latency 30ms and --speedup 2x"
    for index, budget in enumerate(config.budgets.values()):
        if not budget.has_budget:
            place = f"$.targets[{index}]: " if config.targets else ""
            raise UsageError(f"{place}there is no latency budget", hint=hint)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "check the path; without --config, deployprune.yaml of the working directory is read"
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        hint = "save it as plain text in UTF-8"
        raise UsageError(f"the configuration {path} is not text: {error.reason}", hint=hint) from error


def _refuse_flag_only(values: Mapping[str, Any], where: str) -> None:
    for setting in config_settings():
        section = values.get(setting.path[0])
        if setting.flag_only and isinstance(section, Mapping) and setting.path[1] in section:
            raise UsageError(
                f"{where}: $.{setting.name} may not be set here",
                hint=f"{setting.flag} is a flag only, so that nobody's file or environment can turn it on",
            )


def _refuse_replaced(values: Mapping[str, Any], where: str) -> None:
    """Refuse backends beside targets that name their own: one of the two would be left out without a word."""
    target = values.get("target")
    if values.get("targets") and isinstance(target, Mapping) and target.get("backends"):
        raise UsageError(
            f"{where}: $.target.backends is given beside $.targets, where each target names its own",
            hint="keep one of the two: `--backend` and target.backends are for runs without `targets:`",
        )


def _without_replaced_budget(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """``lower`` without its latency budget where ``upper`` sets another one: ``--speedup`` replaces the file's ms."""
    target = upper.get("target")
    if not isinstance(target, Mapping) or not any(target.get(key) is not None for key in _BUDGETS):
        return dict(lower)
    kept = {key: value for key, value in lower.get("target", {}).items() if key not in _BUDGETS}
    return {**lower, "target": kept}
