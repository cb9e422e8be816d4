"""The commands and options of a parser, for completion scripts and the manual page."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATHS = {"FILE", "PATH", "DIR"}


class Option(NamedTuple):
    """An option, or a positional argument.

    Attributes:
        names: ``-w``, ``--no-password``; empty for a positional argument.
        metavar: The name of its value; empty if it has none.
        help: What it does.
        words: The values that it can have; empty if there are others.
        is_optional: It may be used without a value.
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    words: tuple[str, ...]
    is_optional: bool

    @property
    def is_path(self) -> bool:
        """True if the value is the name of a file or a folder."""
        return self.metavar in _PATHS


class Command(NamedTuple):
    """A command; the first is the program itself, without a name."""

    name: str
    help: str
    parser: argparse.ArgumentParser
    options: tuple[Option, ...]


def commands(parser: argparse.ArgumentParser) -> Iterator[Command]:
    """Yield the program and its commands."""
    known = _known_words()
    yield Command("", "", parser, tuple(_options(parser, known)))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {item.dest: item.help or "" for item in action._choices_actions}
            for name, command in action.choices.items():
                yield Command(name, texts[name], command, tuple(_options(command, known)))


def _known_words() -> dict[str, tuple[str, ...]]:
    """Return the values of arguments that check their values themselves."""
    from ..backends import backend_names  # noqa: PLC0415 - not needed for --help
    from ..bench.server import POOLERS  # noqa: PLC0415 - the same
    from ..bench.workloads.all import WORKLOADS  # noqa: PLC0415 - the same

    return {"backend": backend_names(), "workload": tuple(WORKLOADS), "through": tuple(POOLERS)}


def _options(parser: argparse.ArgumentParser, known: dict[str, tuple[str, ...]]) -> Iterator[Option]:
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._SubParsersAction):
            continue
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        metavar = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
        words = tuple(map(str, action.choices or known.get(action.dest, ())))
        yield Option(tuple(action.option_strings), metavar, text, words, action.nargs == "?")
