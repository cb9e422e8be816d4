"""The layout of ``--help``: paragraphs wrapped at the width of the terminal, examples with one command on each line."""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: An entry of a list: a name and its meaning.
ENTRY = re.compile(r"(  \S+ {2,})(\S.*)")


class HelpFormatter(argparse.HelpFormatter):
    """Wraps descriptions and the texts of options, and breaks no word."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrap(" ".join(text.split()), width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = [indent + line for paragraph in paragraphs(text) for line in _lines(paragraph, width - len(indent))]
        return "\n".join(line.rstrip() for line in lines)


def paragraphs(text: str) -> list[list[str]]:
    """Return the parts of a text, which are separated by blank lines, each as its lines.

    The lines of an ordinary paragraph are joined to one. A heading (``examples:``) and indented lines stay as they are.
    """
    found = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        is_list = any(line.startswith("  ") for line in lines)
        found.append(lines if is_list else [" ".join(line.strip() for line in lines)])
    return found


def _lines(paragraph: list[str], width: int) -> Iterator[str]:
    for line in paragraph:
        entry = ENTRY.fullmatch(line)
        if entry is not None:
            yield from _wrap(entry[2], width, entry[1])
        elif line.startswith("  "):
            yield line  # an example, which must stay on one line
        else:
            yield from _wrap(line, width)
    yield ""


def _wrap(text: str, width: int, start: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 20),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
