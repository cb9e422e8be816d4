"""Parser of the command line."""

from __future__ import annotations

import argparse
import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ._errors import EXIT_STATUSES, UsageError
from ._help import HelpFormatter

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from _typeshed import SupportsWrite

#: The commands, in the order of the help.
COMMANDS = ("connect", "doctor", "explain", "backends", "demo", "verifier", "bench", "completion", "man")
_COMMAND_LIST = f"Commands: {', '.join(COMMANDS)}."

_EPILOG = """\
Each command has its own help: babar-tls COMMAND --help

examples:
  babar-tls demo
  babar-tls connect "postgresql://app@db.example.com/shop?sslmode=verify-full"
  babar-tls connect "host=db.example.com user=app" --backend openssl --json
  babar-tls explain "host=db.example.com sslmode=prefer"

exit status:
""" + "".join(f"  {status:<4} {meaning}\n" for status, meaning in EXIT_STATUSES.items())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # An invalid value may contain a password, which must not be shown.
        argument, is_choice, rest = message.partition("invalid choice: ")
        value, _, choices = rest.rstrip(")").replace("'", "").rpartition(" (choose from ")
        remedy = f"Try: {self.prog} --help"
        if is_choice and "COMMAND" not in argument:
            message = f"{argument}must be one of {choices}"
        elif is_choice:
            message = f"unknown command {value!r}" if value.isalnum() else "missing command"
            remedy = f"{_suggestion(value, COMMANDS)}{_COMMAND_LIST} {remedy}"
        raise UsageError(message, remedy=remedy)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # argparse ignores an output that cannot be written.
        print(message, end="", file=file)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line. The caller calls `run` of the result with the result.

    Raises:
        UsageError: The command line is wrong.
        SystemExit: The help or the version was printed.
    """
    parser = build(arguments)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise _unexpected(unknown, parser, options.command)
    if options.command is None:
        raise UsageError("missing command", remedy=f"{_COMMAND_LIST} Try: babar-tls --help, or babar-tls demo")
    return options


def build(configured: Container[str]) -> argparse.ArgumentParser:
    """Return the parser.

    Args:
        configured: The commands that get their arguments. The arguments of `bench` take long to import.
    """
    layout: dict[str, Any] = {"formatter_class": HelpFormatter, "allow_abbrev": False}
    parser = _Parser(
        prog="babar-tls",
        description="Connect to PostgreSQL with TLS, and check how secure a connection or a connection string is.",
        epilog=_EPILOG,
        **layout,
    )
    parser.add_argument("--version", action="version", version=f"babar-tls {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name}", __package__)
        texts = {"help": module.HELP, "description": module.DESCRIPTION, "epilog": module.EPILOG}
        command = commands.add_parser(name, **texts, **layout)
        if name in configured:
            module.configure(command)
        if not getattr(module, "OWN_JSON", False):
            what = "print the result, or the error, as one JSON document"
            command.add_argument("--json", action="store_true", help=what)
        command.set_defaults(run=module.run)
    return parser


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}? " if near else ""


def _unexpected(unknown: list[str], parser: argparse.ArgumentParser, command: str | None) -> UsageError:
    """Return the error for unknown arguments. It names only options, because a value may be a password."""
    own = _command_parser(parser, command)
    names = [name for action in own._actions for name in action.option_strings]
    takes_text = any(action.dest == "conninfo" for action in own._actions)
    words = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    # The value of a short option may follow its letter directly.
    options = [word if word.startswith("--") else word[:2] for word in words]
    if options:
        remedy = f"{_suggestion(options[0], names)}Try: {own.prog} --help"
        return UsageError(f"unknown option: {', '.join(options)}", remedy=remedy)
    quoting = 'A connection string is one argument: quote it, as in "host=db.example.com user=app".'
    return UsageError("too many arguments", remedy=quoting if takes_text else f"Try: {own.prog} --help")


def _command_parser(parser: argparse.ArgumentParser, command: str | None) -> argparse.ArgumentParser:
    """Return the parser of a command, or that of the program."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and command in action.choices:
            found: argparse.ArgumentParser = action.choices[command]
            return found
    return parser
