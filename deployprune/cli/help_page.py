"""Help pages that list what a command takes by section of the configuration."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["SectionedCommand", "SettingArgument", "SettingOption"]

_TITLES = {
    "model": "Model",
    "target": "Target",
    "data": "Data",
    "pruning": "Pruning",
    "table": "Latency table",
    "recovery": "Recovery",
    "export": "Export",
    "verification": "Verification",
}


class SettingOption(click.Option):
    """An option that sets one setting, and knows the section of the help page it belongs to."""

    def __init__(self, *declarations: Any, section: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section


class SettingArgument(click.Argument):
    """An argument that sets one setting, and is explained on the help page beside the options of its section."""

    def __init__(self, *declarations: Any, section: str, help_text: str, **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.section = section
        self.help_text = help_text

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Its name and what it is."""
        return self.make_metavar(ctx).strip("[]"), self.help_text


class SectionedCommand(click.Command):
    """A command whose help page lists its options by section of the configuration."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list of options a section, the command's own options last."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*_TITLES.values(), "Options")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and record[1]:  # newer clicks list arguments that are not explained, too
                sections[_TITLES.get(getattr(parameter, "section", ""), "Options")].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
