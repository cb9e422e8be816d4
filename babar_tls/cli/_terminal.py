"""Tables, bars and styled text for the terminal. This module imports rich, which is optional."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..diagnostics.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.box import Box


#: The style of headings and of a table's first column.
HEADING = "bold cyan"

_PIPED_WIDTH = 100  # columns where the output is not a terminal: the width that the tables need


class Terminal(Console):
    """A console that prints text unchanged: without markup, highlighting and emoji codes."""

    def on_broken_pipe(self) -> None:
        """Raise the error again, so that `main` can clean up; rich would exit."""
        raise BrokenPipeError

    @property
    def unicode(self) -> bool:
        """True if the output can contain more than ASCII."""
        return self.encoding.startswith("utf")

    @property
    def outline(self) -> Box:
        """The lines of tables and panels."""
        return box.ROUNDED if self.unicode else box.ASCII

    def cell(self, text: object, style: str = "") -> Text:
        """Return text from any source with its control characters escaped."""
        return Text(visible(str(text)), style=style)

    def lines(self, texts: Iterable[object]) -> Text:
        """Return texts from any source, one on each line."""
        return Text("\n").join(map(self.cell, texts))

    def write(self, text: object, style: str = "") -> None:
        """Print one line of text from any source."""
        self.print(self.cell(text, style))

    def verdict(self, good: bool, text: object) -> Text:
        """Return text after a check mark or a cross."""
        marks, style = ("✓+", "bold green") if good else ("✗x", "bold red")
        mark = marks[0] if self.unicode else marks[1]
        return Text.assemble((f"{mark} ", style), self.cell(text))

    def table(self, title: str | None = None, *, show_header: bool = True) -> Table:
        """Return an empty table in the style of this program."""
        return Table(
            box=self.outline,
            header_style=HEADING,
            show_header=show_header,
            title=None if title is None else self.cell(title),
            title_justify="left",
            title_style="bold",
        )

    def facts(self, rows: Iterable[tuple[str, object]], title: str | None = None) -> Table:
        """Return a table of names and values; a value may be `Text`."""
        table = self.table(title, show_header=False)
        table.add_column(style=HEADING, no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(name, value if isinstance(value, Text) else self.cell(value))
        return table

    def bar(self, start: float, length: float, *, width: int) -> Text:
        """Return a bar on a track of `width` columns; `start` and `length` are fractions of the track."""
        first = min(round(start * width), width - 1)
        columns = max(1, round((start + length) * width) - first) if length > 0 else 0
        return Text(" " * first + ("█" if self.unicode else "#") * columns, style="cyan")


def terminal() -> Terminal:
    """Return standard output; if it is not a terminal, as plain text that is wide enough for the tables."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPED_WIDTH
    return Terminal(width=width, markup=False, highlight=False, emoji=False)
