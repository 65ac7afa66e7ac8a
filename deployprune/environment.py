"""Settings in environment variables: ``DEPLOYPRUNE_RECOVERY_EPOCHS=3``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployprune.errors import UsageError
from deployprune.options import Config, config_settings
from deployprune.settings import Setting
from deployprune.strict_yaml import read_mapping
from deployprune.validation import validate

__all__ = ["environment_name", "read_environment"]

_PREFIX = "DEPLOYPRUNE_"


def environment_name(setting: Setting) -> str:
    """The environment variable of a setting: ``DEPLOYPRUNE_RECOVERY_EPOCHS``."""
    return _PREFIX + "_".join(setting.path).upper()


def read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings in ``environ``, by dotted name.

    Raises UsageError for a variable with our prefix that is no setting's, or of one that stands in files only.
    """
    known = {environment_name(setting): setting for setting in config_settings()}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(_PREFIX):
            continue
        if name not in known:
            raise _unknown(name, text)
        if known[name].file_only:
            raise UsageError(
                f"{name}: $.{known[name].name} may not be set here",
                hint="it holds too much for a variable or a flag: write it into deployprune.yaml",
            )
        values[known[name].name] = _from_text(known[name], text)
    return values


def _unknown(name: str, text: str) -> UsageError:
    """The refusal, with the setting that the name looks like where there is one."""
    section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
    tree = {section: {key: text}} if section in Config.__struct_fields__ else {section: text}
    try:
        validate(Config, tree, name)
    except UsageError as error:
        return error
    return UsageError(f"{name}: unknown environment variable", hint="see `deployprune compress --help`")


def _from_text(setting: Setting, text: str) -> Any:
    if setting.is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return read_mapping(text, environment_name(setting)) if setting.is_mapping else text
