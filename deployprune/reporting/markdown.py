"""A run as Markdown, for a pull request, a job summary or a file beside the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import jinja2

from deployprune.records import SweepRecord
from deployprune.reporting import prunable, pruning, setup
from deployprune.reporting.comparison import target_facts
from deployprune.reporting.headline import headline
from deployprune.reporting.sweep import sweep_columns, sweep_headline, sweep_rows
from deployprune.reporting.view import read_view
from deployprune.rundir import RunDirectory

__all__ = ["render_markdown", "render_sweep_markdown"]

_BAR_CELLS = 16


def render_markdown(run: RunDirectory) -> str:
    """The whole report of whatever the run holds."""
    view = read_view(run)
    verified = view.verification.targets if view.verification else ()
    return _template().render(
        head=headline(view),
        targets=[target_facts(target) for target in verified],
        view=view,
        prunable=prunable,
        pruning=pruning,
        setup=setup,
    )


def render_sweep_markdown(record: SweepRecord) -> str:
    """What every speed-up of a sweep reached, as a table."""
    head = sweep_headline(record)
    lines = [f"# {head.word}: {_cell(head.title)}", "", *(f"- {_cell(line)}" for line in head.lines), ""]
    return "\n".join((*lines, _table(sweep_rows(record), sweep_columns(record)), ""))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deployprune.reporting"),
        autoescape=False,  # noqa: S701 - escapes HTML, which Markdown code spans would show as entities; see _cell
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, table=_table, bar=_bar)
    return environment.get_template("report.md.j2")


def _table(rows: Iterable[Sequence[str]], columns: Sequence[str]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that cannot end its cell, open a tag or become a mark-up of its own."""
    escaped = "".join(f"\\{char}" if char in "\\`*_[]|<>" else char for char in text)
    return " ".join(escaped.split())


def _bar(share: float) -> str:
    filled = round(_BAR_CELLS * share)
    return "█" * filled + "░" * (_BAR_CELLS - filled)
