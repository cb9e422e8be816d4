"""Standard output, with colours and lines if rich is installed, otherwise as plain text.

The commands print only by what `terminal` returns. What is printed contains no control characters, and no word is
broken.
"""

from __future__ import annotations

import os
import shutil
import sys

from ._plain import HEADING, Terminal

__all__ = ["HEADING", "Terminal", "terminal"]

_PIPED_WIDTH = 100  # columns where the output is not a terminal


def terminal() -> Terminal:
    """Return standard output."""
    piped = not (sys.stdout.isatty() or os.environ.get("COLUMNS"))
    width = _PIPED_WIDTH if piped else shutil.get_terminal_size().columns
    is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    try:
        from ._rich import RichTerminal  # noqa: PLC0415 - optional
    except ImportError:
        return Terminal(width, is_unicode=is_unicode)
    return RichTerminal(width, is_unicode=is_unicode)
