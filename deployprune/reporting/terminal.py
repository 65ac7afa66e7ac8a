"""A run as a page for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from deployprune.records import SweepRecord, VerificationRecord
from deployprune.reporting import prunable, pruning, setup
from deployprune.reporting.comparison import TargetFacts, target_facts
from deployprune.reporting.headline import Headline, headline, verification_headline
from deployprune.reporting.layout import STYLES, bar, emphasised, grid, section, title
from deployprune.reporting.sweep import sweep_columns, sweep_headline, sweep_rows
from deployprune.reporting.view import RunView, read_view
from deployprune.rundir import RunDirectory

__all__ = ["render_sweep", "render_terminal", "render_verification"]

MOST_LINES = 8
MOST_WIDTHS = 24


def render_terminal(run: RunDirectory) -> RenderableType:
    """The whole report of whatever the run holds, for ``rich.console.Console.print``."""
    view = read_view(run)
    return Group(_panel(headline(view)), *_sections(view))


def render_verification(record: VerificationRecord, name: str) -> RenderableType:
    """The comparison of two files that no run stands behind; ``name`` is the candidate's."""
    head = verification_headline(record, name)
    return Group(_panel(head), *(part for target in record.targets for part in _target(target_facts(target))))


def render_sweep(record: SweepRecord) -> RenderableType:
    """What every speed-up of a sweep reached."""
    return Group(_panel(sweep_headline(record)), Text(), grid(sweep_rows(record), header=sweep_columns(record)))


def _sections(view: RunView) -> Iterator[RenderableType]:
    for verified in view.verification.targets if view.verification else ():
        yield from _target(target_facts(verified))
    if view.tables:
        yield title("Latency tables")
        yield grid(setup.table_rows(view.tables), header=setup.TABLE_COLUMNS)
    yield from _plan(view)
    if view.surgery:
        yield from section("Proof", [pruning.proof_line(view.surgery.proof)])
    recovery = pruning.recovery_line(view)
    if recovery:
        yield from section("Recovery", [recovery])
    files = setup.file_rows(view)
    if files:
        yield title("Files")
        yield grid(files)
    yield from _surroundings(view)


def _panel(head: Headline) -> Panel:
    style = STYLES[head.word]
    first = Text.assemble((f" {head.word} ", f"bold reverse {style}"), "  ", (head.title, "bold"))
    rest = (emphasised(line) for line in head.lines)
    return Panel(Group(first, Text(), *rest), box=box.ROUNDED, border_style=style, padding=(1, 2))


def _target(facts: TargetFacts) -> Iterator[RenderableType]:
    style = STYLES[facts.verdict]
    name = Text.assemble((facts.title, "bold"), "  ", (facts.verdict, f"bold {style}"))
    yield Padding(Rule(name, align="left", style="dim"), (1, 0))
    strong = facts.roles.index("candidate") + 1 if "candidate" in facts.roles else None
    yield grid(facts.rows, header=("", *facts.roles), strong=strong)
    if facts.budget_share is not None:
        words = Text.assemble(bar(facts.budget_share, style), "  ", (facts.budget, f"bold {style}"))
        yield Padding(words, (1, 0, 1, 2))
    yield grid(facts.notes)


def _plan(view: RunView) -> Iterator[RenderableType]:
    if view.analysis:
        yield from section("Model", _shortened(prunable.analysis_lines(view.analysis)))
    if view.plan is None:
        return
    yield from section("Plan", [pruning.plan_line(view.plan)])
    trail = pruning.trail_rows(view)
    if trail:
        yield Text()
        yield grid(trail, header=pruning.TRAIL_COLUMNS)
    rows = pruning.width_rows(view)
    if rows:
        yield title("Widths")
        yield _widths(rows)


def _shortened(lines: tuple[str, ...]) -> tuple[str, ...]:
    more = len(lines) - MOST_LINES
    return lines if more <= 0 else (*lines[:MOST_LINES], f"and {more} more; `deployprune inspect` lists them")


def _widths(rows: Sequence[pruning.WidthRow]) -> RenderableType:
    shown = rows[:MOST_WIDTHS]
    table = Table.grid(padding=(0, 2))
    for row in shown:
        table.add_row(Text(row.group), Text(row.kind, style="dim"), bar(row.share), Text(f"{row.kept} of {row.dense}"))
    more = len(rows) - len(shown)
    note = [Text(f"and {more} more; the Markdown report has them all", style="dim")] if more else []
    return Padding(Group(table, *note), (0, 0, 0, 2))


def _surroundings(view: RunView) -> Iterator[RenderableType]:
    yield title("Host and settings")
    yield grid((*setup.model_rows(view), *setup.machine_rows(view), ("run", str(view.root))))
    yield from section("To reproduce", [setup.command(view)])
