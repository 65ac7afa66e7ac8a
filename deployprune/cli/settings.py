"""Click options made from the configuration's settings, so that no option is written twice."""

from __future__ import annotations

import functools
import os
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from deployprune.cli.help_page import SettingArgument, SettingOption
from deployprune.config import COMMAND_LINE, Config, load_config
from deployprune.errors import UsageError
from deployprune.options import config_settings
from deployprune.settings import Setting

__all__ = ["Given", "config_options"]

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line set, and the configuration file that it named."""

    flags: dict[str, Any]
    path: Path | None

    def load(self, **fixed: Any) -> Config:
        """The effective configuration; ``fixed`` are settings a command always has, by dotted name.

        Raises UsageError, naming the flag, file or variable that is wrong.
        """
        try:
            return load_config(self.path, {**self.flags, **fixed}, os.environ)
        except UsageError as error:
            raise UsageError(_name_flag(error.message), hint=error.hint) from error

    def refuse_changes(self, what: str, allowed: Collection[str], *more: str) -> None:
        """Raise UsageError where anything but ``allowed`` (dotted names) was given to go on with ``what``.

        ``more`` are flags that are no settings and were given too.
        """
        named = [_shown(setting) for setting in config_settings() if setting.name in self.flags.keys() - {*allowed}]
        others = [*named, *more, *(["--config"] if self.path else [])]
        if others:
            raise UsageError(
                f"--resume takes the configuration of the {what}; {', '.join(others)} cannot be changed",
                hint=f"start a new {what} to use other settings",
            )


def config_options(*names: str, without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Add the options of these sections (``recovery``) and settings (``target.threads``), and ``--config``.

    Settings in ``without`` are left out of their sections.
    The decorated command gets one :class:`Given` as its first argument in place of all of them.
    """

    def decorate(function: Function) -> Function:
        settable = [setting for setting in config_settings() if not setting.file_only and setting.name not in without]
        chosen = [setting for setting in settable if setting.name in names or setting.path[0] in names]

        @functools.wraps(function)
        def command(*args: Any, config_path: Path | None, **values: Any) -> Any:
            flags = {s.name: _read(s, values.pop(_parameter(s))) for s in chosen}
            given = {name: value for name, value in flags.items() if value is not None}
            return function(Given(given, config_path), *args, **values)

        kind = click.Path(path_type=Path, dir_okay=False)
        click.option("--config", "config_path", type=kind, help="configuration file  [default: deployprune.yaml]")(
            command
        )
        for setting in reversed(chosen):
            _declare(setting)(command)
        return command

    return decorate


def _declare(setting: Setting) -> Callable[[Function], Function]:
    if setting.argument:
        return click.argument(
            _parameter(setting),
            cls=SettingArgument,
            section=setting.path[0],
            help_text=setting.help,
            metavar=f"[{setting.metavar}]",
            required=False,
        )
    flag = setting.flag
    if setting.is_bool and not setting.flag_only:
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    attributes: dict[str, Any] = {"is_flag": True} if setting.is_bool else {"type": _click_type(setting)}
    return click.option(
        flag,
        _parameter(setting),
        cls=SettingOption,
        section=setting.path[0],
        default=None,
        multiple=setting.is_list or setting.is_mapping,
        metavar=setting.metavar,
        help=_help(setting),
        **attributes,
    )


def _name_flag(message: str) -> str:
    """The message about a place on the command line, ``command line: $.target.speedup: ...``, with the flag instead."""
    said = message.removeprefix(f"{COMMAND_LINE}: $.")
    for setting in config_settings() if said != message else ():
        if said.startswith(f"{setting.name}: "):
            return f"{_shown(setting)}: {said.removeprefix(f'{setting.name}: ')}"
    return message


def _shown(setting: Setting) -> str:
    return (setting.metavar or setting.name) if setting.argument else setting.flag


def _parameter(setting: Setting) -> str:
    return "__".join(setting.path)


def _help(setting: Setting) -> str:
    default = setting.default
    if default is None or default in ([], {}) or setting.flag_only:
        return setting.help
    if setting.is_bool:
        default = "on" if default else "off"
    return f"{setting.help}  [default: {', '.join(default) if isinstance(default, list) else default}]"


def _click_type(setting: Setting) -> click.ParamType[Any]:
    if setting.choices:
        return click.Choice(setting.choices)
    kinds = _scalars(setting.type)
    if kinds == {int}:
        return click.INT
    return click.FLOAT if kinds == {float} else click.STRING


def _scalars(kind: Any) -> set[Any]:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union, list):
        return set().union(*(_scalars(part) for part in typing.get_args(kind)))
    if origin is typing.Annotated:
        return _scalars(typing.get_args(kind)[0])
    return set() if kind is type(None) else {kind}


def _read(setting: Setting, value: Any) -> Any:
    if value is None or value == ():
        return None
    if setting.is_mapping:
        return dict(_pair(setting, text) for text in value)
    return list(value) if setting.is_list else value


def _pair(setting: Setting, text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    hint = f"for example: {setting.flag} width=16"
    if not equals or not key:
        raise UsageError(f"{setting.flag} {text!r} is not KEY=VALUE", hint=hint)
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"{setting.flag} {text!r}: the value is not valid YAML", hint=hint) from error
