"""A configuration as the words of the command that gives it: how a run can be done again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployprune.config import CONFIG_NAME
from deployprune.options import Config, config_settings
from deployprune.settings import Setting

__all__ = ["command_line"]


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
