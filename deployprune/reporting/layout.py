"""The few forms that terminal pages are made of: titles, lines, grids and bars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deployprune.reporting.wording import NOT_MEASURED

__all__ = ["STYLES", "bar", "emphasised", "grid", "section", "title"]

STYLES = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow", "NOT FINISHED": "yellow", "PROFILE": "cyan"}
BAR_CELLS = 32


def title(text: str) -> RenderableType:
    """A section's title, with a blank line above."""
    return Padding(Text(text, style="bold"), (1, 0, 0, 0))


def section(name: str, lines: Iterable[str]) -> Iterator[RenderableType]:
    """A title with indented lines."""
    yield title(name)
    for line in lines:
        yield Padding(emphasised(line), (0, 0, 0, 2))


def grid(rows: Iterable[Sequence[str]], header: Sequence[str] = (), strong: int | None = None) -> RenderableType:
    """Rows in columns, the first column dim and the column ``strong`` bold, under a header where there is one."""
    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=bool(header), show_edge=False, pad_edge=False)
    table.padding = (0, 2, 0, 0)
    rows = list(rows)
    for index in range(max(map(len, [header, *rows]))):
        style = "bold" if index == strong else "dim" if index == 0 else None
        table.add_column(header[index] if header else "", style=style, header_style="bold", overflow="fold")
    for row in rows:
        table.add_row(*(emphasised(cell) for cell in row))
    return Padding(table, (0, 0, 0, 2))


def bar(share: float, style: str = "cyan") -> Text:
    """A share of one as a bar; more than one fills it."""
    filled = round(BAR_CELLS * min(share, 1.0))
    return Text.assemble(("█" * filled, style), ("░" * (BAR_CELLS - filled), "dim"))


def emphasised(text: str) -> Text:
    """Plain text (never mark-up) in which what was not measured stands out."""
    words = Text(text)
    words.highlight_words([NOT_MEASURED], style="bold yellow")
    return words
