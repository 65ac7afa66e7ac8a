"""The configuration of a run: found, read, checked and written.

A setting is looked for on the command line, then in the environment (``DEPLOYPRUNE_RECOVERY_EPOCHS=3``), then in
``deployprune.yaml``; what none of them sets has the default of :mod:`deployprune.options`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from deployprune.errors import UsageError
from deployprune.options import Config
from deployprune.settings import Setting, list_settings, merge, unflatten, validate

__all__ = [
    "CONFIG_NAME",
    "Config",
    "command_line",
    "config_settings",
    "dump_config",
    "environment_name",
    "load_config",
    "parse_config",
    "require_model",
    "require_target",
]

CONFIG_NAME = "deployprune.yaml"
_PREFIX = "DEPLOYPRUNE_"
_BUDGETS = ("latency", "speedup")


@cache
def config_settings() -> tuple[Setting, ...]:
    """Every setting of :class:`Config`, in order."""
    return tuple(list_settings(Config))


def load_config(path: Path | None, flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The effective configuration: ``flags`` (dotted names to values) over the environment over the file.

    ``path`` is the file; where it is None, ``deployprune.yaml`` in the working directory is read if there is one.
    Raises UsageError naming the source and the path of anything unknown or of a wrong type.
    """
    found = path or Path(CONFIG_NAME)
    layers = [("command line", unflatten(flags))]
    layers.insert(0, ("environment", unflatten(_from_environment(environ))))
    if path is not None or found.is_file():
        layers.insert(0, (str(found), _read_yaml(_read_text(found), str(found))))
    merged: dict[str, Any] = {}
    for where, values in layers:
        if where != "command line":
            _refuse_flag_only(values, where)
        validate(Config, values, where)
        merged = merge(_without_replaced_budget(merged, values), values)
    _refuse_replaced(merged, "configuration")
    return validate(Config, merged, "configuration")


def parse_config(text: str, where: str) -> Config:
    """The configuration in a YAML text such as a run's ``config.yaml``; ``where`` names it in errors."""
    values = _read_yaml(text, where)
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


def command_line(config: Config, command: str = "compress", saved: Path = Path(CONFIG_NAME)) -> list[str]:
    """The words of the command that gives ``config``: what differs from the defaults, as flags.

    Where something differs that has no flag, they name ``saved`` instead, the file that ``config`` is kept in.
    """
    words = ["deployprune", command]
    differing = [setting for setting in config_settings() if _value(config, setting) != setting.default]
    if any(setting.file_only for setting in differing):
        words.append(f"--config {shlex.quote(str(saved))}")
        differing = [setting for setting in differing if setting.flag_only]
    for setting in differing:
        words.extend(_as_words(setting, _value(config, setting)))
    return words


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


def environment_name(setting: Setting) -> str:
    """The environment variable of a setting: ``DEPLOYPRUNE_RECOVERY_EPOCHS``."""
    return _PREFIX + "_".join(setting.path).upper()


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {environment_name(setting): setting for setting in config_settings()}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(_PREFIX):
            continue
        if name not in known:
            section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
            validate(Config, {section: {key: text}} if section in Config.__struct_fields__ else {section: text}, name)
            raise UsageError(f"{name}: unknown environment variable", hint="see `deployprune compress --help`")
        if known[name].file_only:
            raise UsageError(
                f"{name}: $.{known[name].name} may not be set here",
                hint=f"it holds too much for a variable or a flag: write it into {CONFIG_NAME}",
            )
        values[known[name].name] = _from_text(known[name], text)
    return values


def _from_text(setting: Setting, text: str) -> Any:
    if setting.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return _read_yaml(text, environment_name(setting)) if setting.is_mapping else text


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the configuration {path} is not text: {error.reason}") from error


def _read_yaml(text: str, where: str) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{where}: expected sections such as `target:`, got {type(values).__name__}")
    return values


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


def _value(config: Config, setting: Setting) -> Any:
    value: Any = config
    for name in setting.path:
        value = getattr(value, name)
    return value


def _as_words(setting: Setting, value: Any) -> Iterator[str]:
    if setting.argument:
        yield shlex.quote(str(value))
    elif setting.is_bool:
        yield setting.flag if value else setting.flag.replace("--", "--no-", 1)
    elif setting.is_mapping:
        yield from (f"{setting.flag} {shlex.quote(f'{key}={item}')}" for key, item in value.items())
    elif setting.is_list:
        yield from (f"{setting.flag} {shlex.quote(str(item))}" for item in value)
    else:
        yield f"{setting.flag} {shlex.quote(str(value))}"
