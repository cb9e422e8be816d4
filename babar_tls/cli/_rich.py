"""Standard output with colours and lines. This module imports rich, which is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ._layout import draw_row
from ._plain import Terminal, number_of_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ._layout import Cell, Line, Table


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error again, so that `main` can clean up; rich would exit."""
        raise BrokenPipeError


class RichTerminal(Terminal):
    """A terminal whose text rich prints: in the colours that it has, in a file without colours."""

    def __init__(self, width: int, *, is_unicode: bool) -> None:
        super().__init__(width, is_unicode=is_unicode)
        self._console = _Console(width=width, markup=False, highlight=False, emoji=False)

    def status(self, text: str) -> AbstractContextManager[object]:
        """Return a context with a spinner, if the output is a terminal."""
        return self._console.status(text)

    def _room(self, table: Table) -> int:
        return self.width - 3 * number_of_columns(table) - 1 if table.frame else super()._room(table)

    def _print_rows(self, table: Table, rows: Sequence[Sequence[Cell]], widths: list[int]) -> None:
        if not table.frame:
            super()._print_rows(table, rows, widths)
            return
        bar = "│" if self.unicode else "|"
        self._rule("╭┬╮", widths)
        for index, row in enumerate([table.headings, *rows] if table.headings else rows):
            for cells in draw_row(row, widths, table.right):
                line: Line = [(bar, "")]
                for cell in cells:
                    line += [(" ", ""), *cell, (f" {bar}", "")]
                self._emit(line)
            if table.headings and not index:
                self._rule("├┼┤", widths)
        self._rule("╰┴╯", widths)

    def _end(self) -> None:
        """Print nothing: the frame is enough."""

    def _rule(self, corners: str, widths: list[int]) -> None:
        """Print a horizontal line: its beginning, its crossings and its end are the `corners`."""
        line = "─" if self.unicode else "-"
        inner = (corners[1] if self.unicode else "+").join(line * (width + 2) for width in widths)
        left, right = (corners[0], corners[2]) if self.unicode else ("+", "+")
        self._emit([(f"{left}{inner}{right}", "")])

    def _emit(self, line: Line) -> None:
        text = Text.assemble(*line)
        text.rstrip()
        self._console.print(text, soft_wrap=True)
