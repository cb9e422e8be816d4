"""Layout of text and tables within a width. Words are not broken.

A word is what is between spaces: a cipher suite, a fingerprint, a file name, a parameter with its value. A word in two
parts could not be searched for or copied.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WORD = re.compile(r"\S*\d (?:ms|s|MB|bytes)(?!\w)\S*|\S+")

#: Text with its style, as rich names styles.
Piece: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Piece]


class Cell(NamedTuple):
    """Text without control characters, in a table or by itself.

    Attributes:
        lines: The lines.
        style: Their style.
        mark: A piece before the first line; the other lines are indented by its width.
    """

    lines: tuple[str, ...]
    style: str = ""
    mark: Piece = ("", "")


class Table(NamedTuple):
    """Cells in rows of equal length.

    Attributes:
        rows: The rows.
        headings: The headings of the columns, or nothing.
        title: A line above the table, or nothing.
        first_style: The style of the first column.
        right: The columns that are aligned to the right.
        frame: Draw lines around the cells, if the terminal does that.
    """

    rows: Sequence[Sequence[Cell]]
    headings: Sequence[Cell] = ()
    title: str = ""
    first_style: str = ""
    right: frozenset[int] = frozenset()
    frame: bool = True


def columns(text: str) -> int:
    """Return the number of columns that a terminal uses for a text."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrap(text: str, width: int, hang: int = 0) -> list[str]:
    """Split a text at spaces into lines of at most `width` columns.

    Args:
        text: The text.
        width: The number of columns. A longer word is on a line of its own, which the terminal breaks.
        hang: Spaces before each line but the first, in addition to those before the text.
    """
    if columns(text) <= width:
        return [text]
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines: list[str] = []
    line, used = indent, 0
    for word in words(text):
        wide = columns(word)
        if used and used + 1 + wide <= width:
            line, used = f"{line} {word}", used + 1 + wide
            continue
        if used:
            lines.append(line)
            line = indent + " " * hang
        if len(line) + wide > width:
            line = ""  # the word fits only without the indentation, or the terminal breaks it
        line, used = line + word, len(line) + wide
    return [*lines, line]


def words(text: str) -> list[str]:
    """Return the parts of a text that are not broken: its words, and a number with its unit as one part."""
    return _WORD.findall(text)


def widest(cell: Cell) -> int:
    """Return the width of a cell whose lines are not wrapped."""
    return columns(cell.mark[0]) + max(map(columns, cell.lines), default=0)


def narrowest(cell: Cell) -> int:
    """Return the width of a cell whose lines are wrapped at each space."""
    return columns(cell.mark[0]) + max((columns(word) for line in cell.lines for word in words(line)), default=0)


def draw(cell: Cell, width: int) -> Iterator[Line]:
    """Yield the lines of a cell, wrapped."""
    mark: Piece = cell.mark
    inner = max(width - columns(mark[0]), 1)
    for line in cell.lines:
        for part in wrap(line, inner):
            yield [mark, (part, cell.style)] if mark[0] else [(part, cell.style)]
            mark = (" " * columns(mark[0]), "")


def split(table: Table, width: int) -> tuple[list[Sequence[Cell]], list[Sequence[Cell]], list[int]]:
    """Return the rows that fit side by side without broken words, the other rows, and the widths of the columns.

    Args:
        table: The table.
        width: The width without the lines of the table.
    """
    rows = sorted(range(len(table.rows)), key=lambda index: max(map(narrowest, table.rows[index]), default=0))
    low, high = 0, len(rows)
    while low < high:  # the largest number of rows, those with the shortest words first
        middle = (low + high + 1) // 2
        fits = _widths(table, [table.rows[index] for index in rows[:middle]], width) is not None
        low, high = (middle, high) if fits else (low, middle - 1)
    chosen = set(rows[:low])
    fitting = [row for index, row in enumerate(table.rows) if index in chosen]
    others = [row for index, row in enumerate(table.rows) if index not in chosen]
    return fitting, others, _widths(table, fitting, width) or []


def _widths(table: Table, rows: Sequence[Sequence[Cell]], width: int) -> list[int] | None:
    """Return the widths of the columns; None if a word does not fit into its column."""
    by_column = list(zip(*[row for row in (table.headings, *rows) if row], strict=True))
    wanted = [max(map(widest, cells)) for cells in by_column]
    least = [max(map(narrowest, cells)) for cells in by_column]
    if least and wanted[0] <= width // 3 and width >= wanted[0] + sum(least[1:]):
        least[0] = wanted[0]  # names are easier to find if each is on one line
    spare = width - sum(least)
    if spare < 0:
        return None
    # Columns that need little get what they need; the others share the rest.
    for done, index in enumerate(sorted(range(len(least)), key=lambda index: wanted[index] - least[index])):
        share = min(wanted[index] - least[index], spare // (len(least) - done))
        least[index] += share
        spare -= share
    return least


def draw_row(row: Sequence[Cell], widths: Sequence[int], right: frozenset[int]) -> Iterator[list[Line]]:
    """Yield the lines of a row, each as its padded cells."""
    cells = [list(draw(cell, width)) for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells):
        yield [
            _pad(part or [], width, index in right)
            for index, (part, width) in enumerate(zip(parts, widths, strict=True))
        ]


def _pad(line: Line, width: int, is_right: bool) -> Line:
    space: Piece = (" " * (width - sum(columns(text) for text, _ in line)), "")
    return [space, *line] if is_right else [*line, space]
