"""Standard output: text, verdicts, tables and bars, as plain text."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from ..diagnostics.escaping import visible
from ._layout import Cell, Table, draw, draw_row, narrowest, split, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._layout import Line


#: The style of headings and of the names of facts.
HEADING = "bold cyan"


class Terminal:
    """Plain text on standard output.

    Attributes:
        width: The number of columns.
        unicode: True if the output can contain more than ASCII.
    """

    def __init__(self, width: int, *, is_unicode: bool) -> None:
        self.width = width
        self.unicode = is_unicode

    # What is printed -------------------------------------------------------------------------------------------------

    def cell(self, text: object, style: str = "") -> Cell:
        """Return one line of text from any source."""
        return Cell((visible(str(text)),), style)

    def lines(self, texts: Iterable[object]) -> Cell:
        """Return lines of text from any source."""
        return Cell(tuple(visible(str(text)) for text in texts))

    def verdict(self, good: bool, text: object) -> Cell:
        """Return text after a check mark or a cross."""
        mark = ("✓ " if good else "✗ ") if self.unicode else ("+ " if good else "x ")
        return Cell((visible(str(text)),), mark=(mark, "bold green" if good else "bold red"))

    def bar(self, start: float, length: float, *, width: int) -> Cell:
        """Return a bar on a track of `width` columns; `start` and `length` are fractions of the track."""
        first = min(round(start * width), width - 1)
        columns = max(1, round((start + length) * width) - first) if length > 0 else 0
        return Cell((" " * first + ("█" if self.unicode else "#") * columns,), "cyan")

    def table(
        self,
        rows: Iterable[Sequence[object]],
        headings: Sequence[object] = (),
        title: str = "",
        *,
        right: Iterable[int] = (),
        frame: bool = True,
    ) -> Table:
        """Return a table.

        Args:
            rows: The rows, each with the same number of cells: cells, or text from any source.
            headings: The headings of the columns.
            title: A line above the table.
            right: The columns that are aligned to the right.
            frame: Draw lines around the cells, if this terminal does that.
        """
        marked = [item if isinstance(item, Cell) else self.cell(item, HEADING) for item in headings]
        return Table(list(map(self._cells, rows)), marked, visible(title), "", frozenset(right), frame)

    def facts(
        self,
        rows: Iterable[Sequence[object]],
        title: str | None = None,
        *,
        right: Iterable[int] = (),
        frame: bool = True,
    ) -> Table:
        """Return a table whose first column has names, which are on one line each."""
        return self.table(rows, (), title or "", right=right, frame=frame)._replace(first_style=HEADING)

    def _cells(self, row: Sequence[object]) -> list[Cell]:
        return [item if isinstance(item, Cell) else self.cell(item) for item in row]

    # Printing --------------------------------------------------------------------------------------------------------

    def write(self, text: object = "", style: str = "", *, hang: int = 0) -> None:
        """Print text from any source, wrapped. Spaces before it indent all lines; `hang` is further indentation."""
        for line in wrap(visible(str(text)), self.width, hang):
            self._emit([(line, style)])

    def warning(self, text: object) -> None:
        """Print a warning."""
        self.print(self.cell(text, "yellow")._replace(mark=("! ", "yellow")))

    def copyable(self, text: object, style: str = "") -> None:
        """Print text from any source on one line of the output, even if the terminal has to break it."""
        self._emit([(visible(str(text)), style)])

    def print(self, item: Cell | Table) -> None:
        """Print a cell or a table. A row with a word that is too long for its column follows the table."""
        if isinstance(item, Cell):
            if narrowest(item) > self.width:  # the word fits on a line, but not after the mark
                item = Cell((item.mark[0] + item.lines[0], *item.lines[1:]), item.style)
            for line in draw(item, self.width):
                self._emit(line)
            return
        table = item
        if table.first_style:
            rows = [[row[0]._replace(style=table.first_style), *row[1:]] for row in table.rows]
            table = table._replace(rows=rows)
        if table.title:
            self._print_title(table.title)
        fitting, others, widths = split(table, self._room(table))
        if fitting:
            self._print_rows(table, fitting, widths)
        for row in others:
            self._print_block(table, row)
        if table.frame:
            self._end()

    def fits(self, table: Table) -> bool:
        """Return True if all rows of the table fit side by side."""
        return not split(table, self._room(table))[1]

    def status(self, text: str) -> AbstractContextManager[object]:
        """Return a context in which the terminal shows that something is going on."""
        return nullcontext()

    def _room(self, table: Table) -> int:
        """Return the width for the cells of a table."""
        return self.width - 2 * (number_of_columns(table) - 1)

    def _print_title(self, title: str) -> None:
        self.write(title, "bold")

    def _print_rows(self, table: Table, rows: Sequence[Sequence[Cell]], widths: list[int]) -> None:
        for row in ([table.headings] if table.headings else []) + list(rows):
            for cells in draw_row(row, widths, table.right):
                self._emit([piece for cell in cells for piece in (*cell, ("  ", ""))])

    def _end(self) -> None:
        """Separate a table that could have a frame from what follows."""
        self.write()

    def _print_block(self, table: Table, row: Sequence[Cell]) -> None:
        """Print a row as lines, each with the heading of its column."""
        names = [cell.lines[0] for cell in table.headings] if table.headings else [""] * len(row)
        if not table.headings and table.first_style:
            names, row = [row[0].lines[0]], row[1:]
        for index, (name, cell) in enumerate(zip(names, row, strict=True)):
            indent = "  " if index else ""
            start = f"{indent}{name}: {cell.mark[0]}" if name else f"{indent}{cell.mark[0]}"
            for line in cell.lines:
                for part in wrap(start + line, self.width, hang=2):
                    self._emit([(part, cell.style)])
                start = f"{indent}  "

    def _emit(self, line: Line) -> None:
        print("".join(text for text, _ in line).rstrip())


def number_of_columns(table: Table) -> int:
    """Return the number of columns of a table."""
    return len(table.headings or next(iter(table.rows), ()))
