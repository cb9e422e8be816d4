"""Drawing with rich. Imports it, so import this module only once it is to be used."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.text import Text

from ..diagnostics.escaping import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.box import Box


#: The style of headings and of a table's first column.
HEADING = "bold cyan"

_PIPED_WIDTH = 100  # columns, where there is no terminal to ask: what tables here need
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Terminal(Console):
    """A console that takes text as it is: no markup, no highlighting, no emoji codes."""

    def on_broken_pipe(self) -> None:
        """Leave it to `main`, which knows what is to be cleaned up first."""
        raise BrokenPipeError

    @property
    def unicode(self) -> bool:
        """More than ASCII can be shown."""
        return self.encoding.startswith("utf")

    @property
    def outline(self) -> Box:
        """The lines of tables and panels."""
        return box.ROUNDED if self.unicode else box.ASCII

    def cell(self, text: object, style: str = "") -> Text:
        """Text that may come from anywhere, made safe."""
        return Text(visible(str(text)), style=style)

    def lines(self, texts: Iterable[object], style: str = "") -> Text:
        """Several such texts, below one another."""
        return Text("\n").join(self.cell(text, style) for text in texts)

    def verdict(self, good: bool, text: object) -> Text:
        """Text with a check mark or a cross."""
        mark, style = self._marks(good)
        return Text.assemble((f"{mark} ", style), self.cell(text))

    def _marks(self, good: bool) -> tuple[str, str]:
        if good:
            return ("✓" if self.unicode else "+"), "bold green"
        return ("✗" if self.unicode else "x"), "bold red"

    def bar(self, start: float, length: float, *, width: int, style: str = "cyan") -> Text:
        """A bar on a track of `width` columns; `start` and `length` are fractions of the track."""
        if not self.unicode:
            first = round(start * width)
            return Text(" " * first + "#" * (max(1, round(length * width)) if length > 0 else 0), style=style)
        # In eighths of a column; a block fills from the left, so a bar begins on a whole column.
        first = min(int(start * width), width - 1)
        eighths = max(1, round((start + length) * width * 8) - first * 8) if length > 0 else 0
        full, rest = divmod(min(eighths, (width - first) * 8), 8)
        return Text(" " * first + "█" * full + (_EIGHTHS[rest] if rest else ""), style=style)


def terminal() -> Terminal:
    """Standard output; without a terminal there, plain text of a width that does not mangle tables."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPED_WIDTH
    return Terminal(width=width, markup=False, highlight=False, emoji=False)
