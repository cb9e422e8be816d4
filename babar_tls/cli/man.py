"""``babar-tls man``: the manual page, from the parser of the command line."""

from __future__ import annotations

import itertools
import os
import re
import textwrap
import time
from typing import TYPE_CHECKING

from .. import __version__
from ._help import ENTRY, paragraphs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ._parser_facts import Command, Option

HELP = "print the manual page"
DESCRIPTION = "Print the manual page of this command in roff, for man and for packages."
EPILOG = """\
examples:
  babar-tls man | man -l -
  babar-tls man > /usr/local/share/man/man1/babar-tls.1
"""

#: The parser adds no ``--json``: this command prints no result.
OWN_JSON = True


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: this command has none."""


def run(options: argparse.Namespace) -> int:
    """Print the manual page."""
    from ._arguments import COMMANDS, build  # noqa: PLC0415 - imports this module
    from ._parser_facts import commands  # noqa: PLC0415 - not needed for --help

    print("\n".join(_page(*commands(build(COMMANDS)))))
    return 0


def _page(program: Command, *commands: Command) -> Iterator[str]:
    # https://reproducible-builds.org/specs/source-date-epoch/
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time()))
    date = time.strftime("%Y-%m-%d", moment)
    yield f'.TH BABAR\\-TLS 1 {date} "babar\\-tls {__version__}"'
    yield from (".nh", ".ad l")  # no word is broken: it may be an option or a name
    yield from (".SH NAME", r"babar\-tls \- connect to PostgreSQL with verified TLS")
    yield from (".SH SYNOPSIS", r".B babar\-tls", r".I COMMAND", r"[\fIOPTION\fR] \&.\|.\|.")
    yield ".SH DESCRIPTION"
    yield from _text(program.parser.description, is_first=True)
    yield from _options(program.options)
    yield ".SH COMMANDS"
    for command in commands:
        yield f".SS {_escape(command.name)}"
        yield from _text(command.parser.description, is_first=True)
        yield from _options(command.options)
        yield from _text(command.parser.epilog)
    # The program's epilog has the examples and the exit statuses.
    for paragraph in paragraphs(program.parser.epilog or ""):
        if paragraph[0].endswith(":"):
            yield f".SH {paragraph[0][:-1].upper()}"
            yield from _lines(paragraph[1:])


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        names = ", ".join(rf"\fB{_escape(name)}\fR" for name in option.names)
        value = rf"\fI{_escape(option.metavar)}\fR" if option.metavar else ""
        yield ".TP"
        yield " ".join(filter(None, [names, f"[{value}]" if option.names and option.is_optional else value]))
        yield from _lines([option.help])


def _text(text: str | None, *, is_first: bool = False) -> Iterator[str]:
    """Yield paragraphs; the first one of a section needs no macro."""
    for paragraph in paragraphs(text or ""):
        if not (is_first or paragraph[0].startswith("  ")):
            yield ".PP"
        is_first = False
        yield from _lines(paragraph)


def _lines(lines: list[str]) -> Iterator[str]:
    for kind, group in itertools.groupby(lines, _kind):
        if kind == "entry":
            for line in group:
                name, meaning = line.split(maxsplit=1)
                yield from (".TP", rf"\fB{_escape(name)}\fR", *_wrapped(meaning))
        elif kind == "example":
            yield from (".IP", ".nf", *(_escape(line.strip()) for line in group), ".fi")
        else:
            yield from _wrapped(" ".join(group))


def _kind(line: str) -> str:
    return "entry" if ENTRY.fullmatch(line) else "example" if line.startswith("  ") else "text"


def _wrapped(line: str) -> list[str]:
    return [_escape(part) for part in textwrap.wrap(line, 60, break_long_words=False, break_on_hyphens=False)]


def _escape(text: str) -> str:
    """Escape a line of text for roff, in ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
